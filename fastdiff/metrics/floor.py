"""The floor of a distance: what pictures of the training set score against the held-out ones."""

from __future__ import annotations

import numpy as np

from fastdiff import noise
from fastdiff.metrics.features import Features
from fastdiff.metrics.frechet import frechet_distance, statistics
from fastdiff.metrics.quality import MIN_N, Quality, allocate

FLOOR_SEED = 1


def floor(features: Features, n: int, seed: int = FLOOR_SEED) -> Quality | None:
    """The distance of n *training* pictures: as many disjoint subsets as there are.

    Subsets have the held-out class proportions and are the same every time. None where the
    features file has fewer than n training pictures to make one from.
    """
    share = allocate(n, features.counts)
    shuffled = []
    for k in range(len(features.labels)):
        index = np.flatnonzero(features.training_label == k)
        key = noise.words(noise.as_seeds(seed, 1), k, noise.STREAM_TRAIN, len(index))[0]
        shuffled.append(index[np.argsort(key, kind="stable")])
    subsets = min(
        (len(index) // k for index, k in zip(shuffled, share, strict=True) if k), default=0
    )
    if n < MIN_N or not subsets:
        return None
    distances = []
    for s in range(subsets):
        parts = [v[s * k : (s + 1) * k] for v, k in zip(shuffled, share, strict=True)]
        chosen = statistics(features.training[np.concatenate(parts)])
        distances.append(frechet_distance(chosen, features.held_out))
    return Quality(n, tuple(distances))
