"""The Frechet distance between two sets of feature vectors, taken as Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Mean float64 [d] and covariance float64 [d, d] (over count - 1) of ``count`` vectors."""

    mean: Float64Array
    cov: Float64Array
    count: int


def statistics(vectors: npt.ArrayLike) -> Statistics:
    """Mean and covariance of vectors float [n, d], in float64; n at least 2."""
    values = np.asarray(vectors, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise FastdiffError(
            f"vectors: expected at least 2 finite ones, [n, d], got {list(values.shape)}"
        )
    mean = values.mean(axis=0)
    centred = values - mean
    return Statistics(mean, centred.T @ centred / (len(values) - 1), len(values))


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """The squared Frechet distance of two Gaussians, at least 0.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)   (Dowson & Landau 1982)

    The inner matrix is symmetric, so both roots are eigendecompositions of symmetric matrices and
    the result stays real also where a covariance is singular (fewer vectors than dimensions).
    """
    if a.mean.shape != b.mean.shape or a.cov.shape != b.cov.shape:
        raise FastdiffError(
            f"statistics: expected equal widths, got {list(a.cov.shape)} and {list(b.cov.shape)}"
        )
    values, vectors = np.linalg.eigh(a.cov)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    inner = root @ b.cov @ root
    # Rounding may leave an eigenvalue of a singular matrix slightly below zero.
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh((inner + inner.T) / 2.0), 0.0)).sum()
    apart = float(((a.mean - b.mean) ** 2).sum())
    return max(0.0, apart + float(np.trace(a.cov) + np.trace(b.cov) - 2.0 * overlap))
