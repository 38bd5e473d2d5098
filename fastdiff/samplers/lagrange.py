"""Integrals of Lagrange polynomials: what multistep solvers weight their history with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastdiff.samplers.table import Float64Array

# Exact for polynomials, and to the last bits for the exponentials of a few nepers that solvers
# put beside them, where closed forms would lose digits to cancellation over short steps.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(48)


def integrals(
    nodes: Sequence[float] | Float64Array,
    start: float,
    end: float,
    weight: Callable[[Float64Array], Float64Array] = np.ones_like,
) -> Float64Array:
    """The integral from ``start`` to ``end`` of weight(u) l_j(u) du for each j, float64 [N].

    l_j is the polynomial of degree N - 1 that is 1 at ``nodes[j]`` and 0 at the others.
    """
    half = 0.5 * (end - start)
    u = start + half * (_POINTS + 1.0)
    share = half * _WEIGHTS * weight(u)
    found = np.empty(len(nodes))
    for j, node in enumerate(nodes):
        others = np.delete(np.asarray(nodes, dtype=np.float64), j)
        basis = np.prod([(u - other) / (node - other) for other in others], axis=0)
        found[j] = np.sum(share * basis)
    return found
