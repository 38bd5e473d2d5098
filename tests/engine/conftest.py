"""A tiny model to which every argument matters."""

import pytest


@pytest.fixture(scope="session")
def listener():
    """Three channels of 8x8, three classes: what the posterior of Gaussian data says, bent.

    Data of class k has mean pattern k and deviation 0.3; no class has mean 0. To the untrained
    ``tiny_model`` time and context are worth 4e-7 of its output, so that a loop may forget either.
    """
    torch = pytest.importorskip("torch")
    import fastdiff
    from fastdiff import schedules

    class Listener(torch.nn.Module):
        def __init__(self):
            super().__init__()
            g = torch.Generator().manual_seed(0)
            self.register_buffer("ab", torch.tensor(schedules.course().alpha_bar).float())
            self.register_buffer("mean", torch.rand(3, 3, 8, 8, generator=g) * 1.2 - 0.6)
            self.bend = torch.nn.Conv2d(3, 3, 3, padding=1)
            self.bend.weight.data = 0.3 * torch.randn(3, 3, 3, 3, generator=g)
            self.bend.bias.data.zero_()

        def forward(self, x, t, context):
            ab = self.ab[(500 * t).round().long()].to(x.dtype)[:, None, None, None]
            mean = torch.einsum("bk,kchw->bchw", context, self.mean)
            spread = ab * 0.09 + 1 - ab
            eps = (1 - ab).sqrt() * (x - ab.sqrt() * mean) / spread
            return eps + 0.1 * torch.tanh(self.bend(x))

    return fastdiff.DiffusionModel(
        Listener().eval(), schedules.course(), (3, 8, 8), 3, ("a", "b", "c"), "listener"
    )
