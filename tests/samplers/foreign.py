"""Schedulers that diffusers does not have: each tries one thing that compiling must see."""

from types import SimpleNamespace

import diffusers
import torch
from diffusers.utils.torch_utils import randn_tensor


class Plain:
    """An affine scheduler with noise, known by set_timesteps and step alone."""

    weight = 0.8

    def set_timesteps(self, steps):
        self.timesteps = torch.arange(steps, 0, -1)

    def step(self, model_output, timestep, sample):
        x = self.weight * sample - 0.3 * model_output + 0.1 * float(timestep) * self.noise(sample)
        return SimpleNamespace(prev_sample=x)

    def noise(self, like):
        return torch.randn_like(like)


class ByShape(Plain):
    def noise(self, like):
        return torch.randn(*like.shape, dtype=like.dtype) + 0 * torch.zeros(like.shape)


class ByHelper(Plain):
    def noise(self, like):
        return drawn(like)


def drawn(like):
    def inner(depth):
        return randn_tensor(like.shape, dtype=like.dtype) if depth == 0 else inner(depth - 1)

    return inner(2)


class Rounding(Plain):
    """Rounds to float32 by a method, which no other torch can turn into float64."""

    def step(self, model_output, timestep, sample):
        return super().step(model_output.float(), timestep, sample.float())


class Louder(diffusers.DDPMScheduler):
    """Twice the noise of its parent, whose own step draws it."""

    def __init__(self):
        super().__init__(clip_sample=False)

    def _get_variance(self, t, predicted_variance=None, variance_type=None):
        return 4 * super()._get_variance(t, predicted_variance, variance_type)


class Twice(Plain):
    def noise(self, like):
        return torch.randn_like(like) + torch.randn_like(like)


class Uniform(Plain):
    def noise(self, like):
        return torch.rand_like(like)


class Narrow(Plain):
    def noise(self, like):
        return torch.randn(1, 1)


class Unseen(Plain):
    """Noise by a method of tensors: not handed over, but the proof sees it."""

    def noise(self, like):
        return torch.empty_like(like).normal_()


class Squared(Plain):
    def step(self, model_output, timestep, sample):
        return SimpleNamespace(prev_sample=sample + 0.1 * model_output * sample)


class Shifted(Plain):
    def step(self, model_output, timestep, sample):
        return SimpleNamespace(prev_sample=0.5 * sample + 0.01 + model_output)


class Normed(Plain):
    """Divides by a norm over the image: linear in each pixel, and yet not affine."""

    def step(self, model_output, timestep, sample):
        return SimpleNamespace(prev_sample=sample - model_output / (1 + model_output.norm()))


class Clamped(Plain):
    """Clamps what it makes of x and m, which a table can say."""

    def step(self, model_output, timestep, sample):
        x = (0.9 * sample - 0.2 * model_output).clamp(-1, 1)
        return SimpleNamespace(prev_sample=x + 0.1 * self.noise(sample))


class Folded(Plain):
    """Clamps, and then something else."""

    def step(self, model_output, timestep, sample):
        return SimpleNamespace(prev_sample=(0.9 * sample - 0.2 * model_output).clamp(-1, 1).abs())


class Remembering(Plain):
    def set_timesteps(self, steps):
        super().set_timesteps(steps)
        self.outputs = []

    def step(self, model_output, timestep, sample):
        self.outputs.append(model_output)
        return SimpleNamespace(prev_sample=sample - 0.1 * sum(self.outputs[-5:]))


class Offset(Plain):
    def scale_model_input(self, sample, timestep):
        return sample + sample.roll(1, -1)


class Growing(Plain):
    def step(self, model_output, timestep, sample):
        return SimpleNamespace(prev_sample=torch.cat([sample, sample]))


class Failing(Plain):
    def step(self, model_output, timestep, sample):
        raise KeyError("no such row")


COMPILE = {kind.__name__: kind for kind in (Plain, ByShape, ByHelper, Rounding, Clamped)}
REFUSED = {
    kind.__name__: (kind, f"scheduler: {kind.__name__} cannot be compiled: .*{message}")
    for kind, message in (
        (Twice, "it draws noise more than once in a step"),
        (Uniform, "it draws from torch.rand_like; a table's noise is normal"),
        (Narrow, "it draws noise that is not of the shape of x"),
        (Unseen, ""),
        (Squared, "its step is not affine: table and scheduler differ by"),
        (Shifted, ""),
        (Normed, "its step is not affine"),
        (Folded, "its step is not affine"),
        (Remembering, "row 5 needs more than the 4 last outputs and the 4 last x"),
        (Offset, "scale_model_input of row 0 is not a multiple of x"),
        (Growing, "row 0 gives no x of the shape that it got"),
        (Failing, r"its step fails in row 0 on floats \[1, 1, 1, 17\] \(KeyError: 'no such row'\)"),
    )
}
