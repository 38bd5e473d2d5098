"""Small U-Nets whose every weight counts."""

import torch

from fastdiff import schedules
from fastdiff.models.registry import build

SIZES = {
    "two_res_unet": {"dim": 16, "multipliers": (1, 2), "height": 16, "width": 16},
    "ddpm_unet": {
        "channels": (16, 24), "attention": (False, True), "blocks": 1, "groups": 8,
        "height": 16, "width": 16,
    },
}  # fmt: skip


def small(architecture="two_res_unet", seed=0, prediction="eps", labels=(), **sizes):
    """A model of 16 features, 16x16 and two levels unless said otherwise.

    Norms' weights and biases are drawn as well: as 1 and 0 they would hide in what they scale.
    """
    given = {**SIZES[architecture], **sizes}
    schedule = schedules.Schedule("linear", 1000, prediction=prediction)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(architecture, given, schedule, labels, "small")
        for module in model.module.modules():
            if isinstance(module, torch.nn.GroupNorm):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    model.module.eval()
    return model


def inputs(model, batch, seed=0, most=999):
    """x, t and, where the model takes one, context, for a batch; t up to ``most``."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, *model.sample_shape, generator=g)
    t = torch.randint(0, most + 1, (batch,), generator=g).float()
    context = torch.rand(batch, model.context_width, generator=g)
    return (x, t, context) if model.context_width else (x, t)
