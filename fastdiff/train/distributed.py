"""Several processes train one model, as torchrun starts them: one batch, shared out by slots.

Each rank takes every ``size``-th slot of the same batch and the gradients are averaged, so that the
step is the one of a single process but for rounding. The networks are small: one sum over all
gradients laid end to end after the backward costs less than wrapping them would.

Batch norms see a rank's own share: on GPUs they are exchanged for ``SyncBatchNorm``, whose
statistics are the whole batch's; on the CPU torch has none, each rank norms by its share alone (as
with batches of that size) and the running statistics that are kept are rank 0's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fastdiff.errors import FastdiffError
from fastdiff.models.device import torch_device

# The others wait while rank 0 draws and judges.
TIMEOUT = timedelta(hours=1)
ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Ranks:
    """A process by itself: rank 0 of 1, whose averages are what it has."""

    rank, size = 0, 1

    @property
    def first(self) -> bool:
        """Whether this rank is the one that logs, draws, judges and saves."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The name of this rank's own device where ``name`` was asked for."""
        return name

    def share(self, batch_size: int) -> slice:
        """Which slots of a batch are this rank's.

        Every ``size``-th one, since neighbouring slots have neighbouring levels: norms of all ranks
        see all levels. Raises FastdiffError where the ranks cannot have equally many.
        """
        if batch_size % self.size:
            raise FastdiffError(
                f"batch_size: expected a multiple of the {self.size} ranks, got {batch_size}"
            )
        return slice(self.rank, None, self.size)

    def prepare(self, module: nn.Module) -> nn.Module:
        """The network to train, on its device: its own parameters under its own names."""
        return module

    def average_gradients(self, module: nn.Module) -> None:
        """Sets every gradient to its mean over the ranks."""

    def mean(self, value: float) -> float:
        """The mean of the ranks' values."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return flag

    def check_step(self, step: int) -> None:
        """Raises FastdiffError unless all ranks found the same run to go on with."""


class Group(Ranks):
    """One of several processes; every call is one that all of them make.

    Raises FastdiffError where another rank has ended.
    """

    def __init__(self, rank: int, size: int, local: int, cuda: bool) -> None:
        self.rank, self.size, self.local, self.cuda = rank, size, local, cuda

    def device(self, name: str) -> str:
        """``cuda`` is the GPU of this rank's number on its machine."""
        return f"cuda:{self.local}" if self.cuda else name

    def prepare(self, module: nn.Module) -> nn.Module:
        """With batch norms over the whole batch where torch has them, on GPUs."""
        if not self.cuda:
            return module
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return synced

    def average_gradients(self, module: nn.Module) -> None:
        """Sets every gradient to its mean over the ranks, by one sum of all of them."""
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        self._sum(flat).div_(self.size)
        parts = torch.split(flat, [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def mean(self, value: float) -> float:
        """The mean of the ranks' values, in float64."""
        return float(self._sum(torch.tensor(value, dtype=torch.float64))) / self.size

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return bool(self._sum(torch.tensor(int(flag))) > 0)

    def check_step(self, step: int) -> None:
        """Raises FastdiffError on all ranks unless they found the same step."""
        steps = torch.zeros(self.size, dtype=torch.int64)
        steps[self.rank] = step
        found = self._sum(steps).tolist()
        if len(set(found)) > 1:
            raise FastdiffError(
                f"resume: expected one --out that all ranks see, they found steps {found} there"
            )

    def _sum(self, values: Tensor) -> Tensor:
        """``values`` summed over the ranks, in place."""
        try:
            dist.all_reduce(values)
        except RuntimeError as error:
            raise FastdiffError(
                f"ranks: rank {self.rank} of {self.size} lost the others ({_reason(error)}), "
                "see what the one that failed has said"
            ) from error
        return values


def _reason(error: Exception) -> str:
    """The first sentence of torch's, without the place in its sources."""
    return re.sub(r"^\[[^]]*\] ", "", str(error).strip()).splitlines()[0].split(". ")[0]


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process's place among those that torchrun started; alone where it started none.

    ``device``: ``"cpu"`` (gloo) or ``"cuda"`` (nccl for what lies there). Raises FastdiffError
    where the others cannot be reached or a rank has no GPU of its own.
    """
    if not all(key in os.environ for key in ENVIRONMENT):
        yield Ranks()
        return
    cuda = device.startswith("cuda")
    local = int(os.environ["LOCAL_RANK"])
    if cuda:
        if device != "cuda":
            raise FastdiffError(f"device: expected 'cuda' under torchrun, got {device!r}")
        torch.cuda.set_device(torch_device(f"cuda:{local}"))
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise FastdiffError(
            f"ranks: cannot join those that torchrun started ({_reason(error)})"
        ) from error
    yield Group(dist.get_rank(), dist.get_world_size(), local, cuda)
    # Not where something was raised: others may be in the middle of a sum, and the process ends.
    dist.destroy_process_group()
