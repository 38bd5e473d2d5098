"""The ``inductor`` backend: eager's loop around a network under torch.compile."""

from __future__ import annotations

import threading
from typing import Any, Final

import torch
from torch import Tensor

from fastdiff.backends.base import Backend, Outcome, PixelRunner, Request, Runner
from fastdiff.backends.eager import EagerRunner
from fastdiff.errors import FastdiffError
from fastdiff.models.autoregressive import AutoregressiveModel
from fastdiff.models.model import DiffusionModel

# What torch.compile is told beyond its defaults, by our names for it.
MODES: Final[dict[str, dict[str, Any]]] = {
    "default": {"freezing": True},
    "max-autotune": {"freezing": True, "max_autotune": True},
}


class InductorRunner(EagerRunner):
    """Runs one model as torch.compile makes it; see ``Backend.prepare``.

    The first request compiles, for tens of seconds; the second batch size compiles once more, for
    any. Weights are constants of what is compiled (``freezing``). A network that torch.compile
    cannot take whole is refused, not run in pieces. Requests take turns.
    """

    def __init__(
        self,
        model: DiffusionModel,
        device: str = "cpu",
        dtype: str = "float32",
        mode: str = "default",
    ) -> None:
        if mode not in MODES:
            raise FastdiffError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        super().__init__(model, device, dtype)
        self._mode, self._turn = mode, threading.Lock()
        self.network = torch.compile(self.module, fullgraph=True)

    def describe(self) -> str:
        """One line: device, dtype, how it was compiled, noise source."""
        return f"{self.device}, {self.asked}, torch.compile {self._mode}, noise by torch"

    def run(self, request: Request) -> Outcome:
        """As eager's; compiles what it has not met before."""
        import torch._dynamo.config
        from torch._dynamo.exc import TorchDynamoException
        from torch._inductor import config
        from torch._inductor.exc import InductorError

        # Around the call and not torch.compile's options, in which the tracer sees no freezing. The
        # limit is one over all networks of a class in this process, eight unless told otherwise.
        with (
            self._turn,
            config.patch(MODES[self._mode]),
            torch._dynamo.config.patch(recompile_limit=1 << 16),
        ):
            try:
                return super().run(request)
            except (TorchDynamoException, InductorError) as error:
                first = str(error).strip().splitlines()[0]
                raise FastdiffError(
                    f"model: torch.compile cannot take it ({first}; backend 'eager' can run it)"
                ) from error

    def _ask(self, *arguments: Tensor) -> Tensor:
        # Halves of a larger tensor come with its strides, which would compile everything anew.
        return super()._ask(*(argument.contiguous() for argument in arguments))


class InductorBackend:
    """torch.compile. Options: eager's, and ``mode``, "default" or "max-autotune"."""

    name = "inductor"

    def prepare(self, model: DiffusionModel, **options: Any) -> Runner:
        """A runner with its own copy of the model, not compiled yet."""
        unknown = set(options) - {"device", "dtype", "mode"}
        if unknown:
            raise FastdiffError(
                f"{sorted(unknown)[0]}: backend 'inductor' takes device, dtype and mode, not this"
            )
        return InductorRunner(model, **options)

    def prepare_pixels(self, model: AutoregressiveModel, **options: Any) -> PixelRunner:
        """Always a FastdiffError: a loop over pixels is nothing for torch.compile."""
        raise FastdiffError(
            "model: backend 'inductor' runs diffusion models, got an autoregressive one (backends "
            "'native' and 'eager' draw it)"
        )


BACKEND: Backend = InductorBackend()
