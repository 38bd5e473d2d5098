"""Small networks of the package with weights that are no accident, and the same in float64."""

import copy
from dataclasses import replace

import torch

from fastdiff.models.registry import build


def random_model(architecture, seed=0, labels=(), **sizes):
    """An autoregressive model in eval mode whose levels are neither uniform nor always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(architecture, sizes, None, labels, name=architecture.replace("_", "-"))
        for key, value in model.module.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.1, 0.6)
            elif key.endswith("running_mean"):
                value.uniform_(-0.2, 0.1)
            elif key in ("out.weight", "conv_out.weight"):
                value.mul_(4.0)
            elif "of_context" in key:
                value.mul_(6.0)
    model.module.eval()
    return model


class _Float64(torch.nn.Module):
    """A network that takes float32 and computes in float64."""

    def __init__(self, module):
        super().__init__()
        self.module = copy.deepcopy(module).double()

    def forward(self, x, *context):
        return self.module(x.double(), *(values.double() for values in context))


def in_float64(model):
    """The model with a copy of its network that computes in float64."""
    return replace(model, module=_Float64(model.module).eval())
