"""What two processes do for ``test_distributed``, under torchrun: ``-m tests.train.two_ranks OUT``.

Each writes what it found to ``OUT/<rank>.json`` and its gradients to ``OUT/<rank>.safetensors``.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.modules.batchnorm import _BatchNorm

from fastdiff import FastdiffError, schedules
from fastdiff.data.dataset import ImageSet, one_hot
from fastdiff.train.config import TrainConfig
from fastdiff.train.distributed import joined
from fastdiff.train.loop import Trainer, new_model

LABELS = ("a", "b", "c")
STEPS = 3
# Nothing is clipped, so that the gradients that are left are those of the loss.
CONFIG = TrainConfig(
    steps=STEPS, batch_size=12, warmup=2, lr=1e-4, drop=0.3, flip=True, seed=5, clip_norm=1e6
)
SIZES = {
    "context_unet": {"in_channels": 3, "n_feat": 8, "n_cfeat": 3, "height": 8},
    "gated_pixelcnn": {"height": 8, "width": 8, "levels": 4, "hidden": 4, "dilations": (1, 2),
                       "n_context": 3},
}  # fmt: skip
KINDS = tuple(SIZES)


def images_of(kind):
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    x = x if kind == "context_unet" else x[..., :1]
    return ImageSet(x, one_hot(np.arange(40) % 3, 3), LABELS)


def model_of(kind):
    schedule = schedules.course() if kind == "context_unet" else None
    return new_model(kind, SIZES[kind], schedule, LABELS, "tiny", seed=1)


def trainer(kind, out, ranks=None, frozen_norms=True, **changes):
    """A tiny run; with ``frozen_norms`` batch norms norm by their running statistics."""
    own = {"weighting": "min_snr"} if kind == "context_unet" else {}
    config = TrainConfig(**{**vars(CONFIG), **own, **changes})
    run = Trainer(model_of(kind), images_of(kind), config, out, ranks=ranks)
    for module in run.module.modules():
        if frozen_norms and isinstance(module, _BatchNorm):
            module.eval()
    return run


def train(run):
    """Losses and gradient norms of all steps; the first step's gradients."""
    losses, norms, gradients = [], [], {}
    for step in range(run.config.steps):
        losses.append(run.train_step(run.batches(step)))
        norms.append(float(run._gradient_norm))
        if not step:
            named = run.module.named_parameters()
            gradients = {k: p.grad.contiguous().clone() for k, p in named if p.grad is not None}
    return losses, norms, gradients


def sentence(act):
    try:
        act()
    except FastdiffError as error:
        return str(error)
    return None


def work(out):
    found, tensors = {}, {}
    with joined("cpu") as ranks:
        found["divisible"] = sentence(lambda: ranks.share(7))
        found["folders"] = sentence(lambda: ranks.check_step(3 + ranks.rank))
        for kind in KINDS:
            run = trainer(kind, out / kind, ranks)
            found[kind + " losses"], found[kind + " norms"], gradients = train(run)
            tensors |= {f"{kind} gradient {k}": v for k, v in gradients.items()}
            tensors |= {f"{kind} weight {k}": v for k, v in run.module.state_dict().items()}

        stopped = trainer("context_unet", out / "stopped", ranks, frozen_norms=False, steps=50)

        def stop(step, loss):
            if step == STEPS and not ranks.first:
                os.kill(os.getpid(), signal.SIGTERM)

        stopped.run(progress=False, sample_every=0, on_step=stop)
        found["stopped"] = stopped.step
        # Rank 0 alone saved; both go on from there.
        found["resumed"] = trainer("context_unet", out / "stopped", ranks, steps=50).step

        broken = trainer("gated_pixelcnn", out / "broken", ranks)
        if not ranks.first:
            loss = broken.objective.loss
            broken.objective.loss = lambda *given: float("nan") * loss(*given)
        found["nan"] = sentence(lambda: broken.run(progress=False))

        save_file(
            {k: v.contiguous() for k, v in tensors.items()}, out / f"{ranks.rank}.safetensors"
        )
        if ranks.first:
            found["lost"] = sentence(lambda: [ranks.any(False), time.sleep(1), ranks.any(False)])
        (out / f"{ranks.rank}.json").write_text(json.dumps(found))
        if not ranks.first:
            ranks.any(False)
        sys.stdout.flush()
        os._exit(0)  # rank 1 while rank 0 counts on it


if __name__ == "__main__":
    torch.set_num_threads(1)
    work(Path(sys.argv[1]))
