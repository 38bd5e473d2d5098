"""The tolerance of kernels: against float64, and beside what plain torch does in the same dtype."""

from __future__ import annotations

import torch


def assert_accurate(
    got: torch.Tensor, plain: torch.Tensor, exact: torch.Tensor, ulps: float = 2.0
) -> None:
    """``got`` is at most twice as far from ``exact`` (float64) as ``plain``, root mean square, but
    for a quarter of a unit in the last place, and nowhere off by more than ``ulps`` such units of
    the largest element.
    """
    assert got.dtype == plain.dtype
    assert got.shape == plain.shape == exact.shape
    assert exact.dtype == torch.float64
    if not exact.numel():
        return
    ours, theirs = (t.double() - exact for t in (got, plain))
    eps = torch.finfo(got.dtype).eps
    allowed = 2 * _rms(theirs) + eps / 4 * _rms(exact)
    assert _rms(ours) <= allowed, (_rms(ours), allowed)
    largest, bound = float(ours.abs().max()), ulps * eps * float(exact.abs().max())
    assert largest <= bound, (largest, bound)


def _rms(t: torch.Tensor) -> float:
    return float(t.square().mean().sqrt())
