"""The noise: a pure function of (seed, step, stream, element), never a state.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with

    key     = (seed low word, seed high word)
    counter = (element // 4, step, stream, 0)

gives four 32-bit words for four consecutive elements. From a word ``w``

    u = (float32(w) + 0.5) * 2**-32          float32 arithmetic, round to nearest even

is bit-exact on every backend; u lies in (0, 1] (1 itself for the 128 largest words). Box-Muller
turns the four u of a block into four normals:

    r0 = sqrt(-2 ln u0);  z0 = r0 cos(2 pi u1);  z1 = r0 sin(2 pi u1);  z2, z3 from u2, u3

Normals agree to 2e-6 absolute between backends. This file is the reference, in NumPy with
transcendentals in float64; torch (``noise_torch.py``), C++ (``csrc/core/philox.h``) and Triton are
tested against it and against checked-in vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastdiff.errors import FastdiffError

if TYPE_CHECKING:
    pass

STREAM_INIT = 0  # the initial x
STREAM_STEP = 1  # noise added at a step
STREAM_TRAIN = 2  # training and augmentation
STREAM_CHOICE = 3  # autoregressive choices

# The largest difference between two backends' normals.
NORMAL_TOLERANCE = 2e-6

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

UInt32Array = npt.NDArray[np.uint32]
UInt64Array = npt.NDArray[np.uint64]
Float32Array = npt.NDArray[np.float32]
SeedsLike = int | Sequence[int] | npt.NDArray[Any]


def as_seeds(seed: SeedsLike, n: int | None = None) -> UInt64Array:
    """Seeds as uint64 [n]: an int s means s, s + 1, ..., s + n - 1; a sequence is taken as is."""
    if isinstance(seed, (bool, np.bool_)):
        raise FastdiffError(f"seed: expected an integer from 0 to 2**64 - 1, got {seed!r}")
    if isinstance(seed, (int, np.integer)):
        values = [int(seed) + k for k in range(1 if n is None else n)]
    else:
        values = []
        if not isinstance(seed, Iterable):
            raise FastdiffError(f"seed: expected an integer or a sequence of them, got {seed!r}")
        for value in seed:
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise FastdiffError(f"seeds: expected integers, got {value!r}")
            values.append(int(value))
        if n is not None and len(values) != n:
            raise FastdiffError(f"seeds: expected {n} seeds for n={n}, got {len(values)}")
    for value in values:
        if not 0 <= value < 2**64:
            raise FastdiffError(f"seed: expected an integer from 0 to 2**64 - 1, got {value}")
    return np.array(values, dtype=np.uint64)


def philox4x32_10(counter: UInt32Array, key: UInt32Array) -> UInt32Array:
    """Philox4x32-10 words, uint32 [..., 4], from counter uint32 [..., 4] and key [..., 2]."""
    c = [counter[..., k].astype(np.uint64) for k in range(4)]
    k0, k1 = key[..., 0].astype(np.uint64), key[..., 1].astype(np.uint64)
    for _ in range(ROUNDS):
        p0, p1 = c[0] * np.uint64(M0), c[2] * np.uint64(M1)
        c = [
            (p1 >> _SHIFT) ^ c[1] ^ k0,
            p1 & _MASK,
            (p0 >> _SHIFT) ^ c[3] ^ k1,
            p0 & _MASK,
        ]
        k0, k1 = (k0 + np.uint64(W0)) & _MASK, (k1 + np.uint64(W1)) & _MASK
    return np.stack(c, axis=-1).astype(np.uint32)


def words(
    seeds: UInt64Array, step: int | UInt32Array, stream: int, count: int, first_element: int = 0
) -> UInt32Array:
    """Words for elements first_element.. of each sample, uint32 [n, count].

    ``seeds``: uint64 [n]. ``step``: one for all or uint32 [n], one per sample.
    ``first_element``: a multiple of 4.
    """
    if count < 0 or first_element < 0 or first_element % 4:
        raise FastdiffError(
            "count and first_element: expected count >= 0 and first_element a multiple of 4, "
            f"got count={count}, first_element={first_element}"
        )
    n, blocks = len(seeds), -(-count // 4)
    counter = np.zeros((n, blocks, 4), dtype=np.uint32)
    counter[:, :, 0] = np.arange(first_element // 4, first_element // 4 + blocks, dtype=np.uint32)
    counter[:, :, 1] = np.broadcast_to(np.asarray(step, dtype=np.uint32), (n,))[:, None]
    counter[:, :, 2] = np.uint32(stream)
    key = np.empty((n, 1, 2), dtype=np.uint32)
    key[:, 0, 0] = (seeds & _MASK).astype(np.uint32)
    key[:, 0, 1] = (seeds >> _SHIFT).astype(np.uint32)
    return philox4x32_10(counter, key).reshape(n, blocks * 4)[:, :count]


def uniform_from_words(w: UInt32Array) -> Float32Array:
    """u = (float32(w) + 0.5) * 2**-32, float32 in (0, 1]; bit-exact on every backend."""
    u: Float32Array = (w.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    return u


def normal_from_uniform(u: Float32Array) -> Float32Array:
    """Box-Muller over blocks of four along the last axis (its size a multiple of 4)."""
    pairs = u.astype(np.float64).reshape(*u.shape[:-1], u.shape[-1] // 2, 2)
    r = np.sqrt(-2.0 * np.log(pairs[..., 0]))
    angle = 2.0 * np.pi * pairs[..., 1]
    z = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1)
    return z.reshape(u.shape).astype(np.float32)


def uniform(
    seeds: UInt64Array, step: int | UInt32Array, stream: int, count: int, first_element: int = 0
) -> Float32Array:
    """Uniforms in (0, 1], float32 [n, count]; arguments as in ``words``."""
    return uniform_from_words(words(seeds, step, stream, count, first_element))


def normal(
    seeds: UInt64Array, step: int | UInt32Array, stream: int, count: int, first_element: int = 0
) -> Float32Array:
    """Standard normals, float32 [n, count]; arguments as in ``words``."""
    whole = -(-count // 4) * 4  # a block of four is made together
    u = uniform(seeds, step, stream, whole, first_element)
    return normal_from_uniform(u)[:, :count]
