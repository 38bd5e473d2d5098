"""Philox4x32-10, uniforms and Box-Muller for Triton kernels: ``csrc/core/philox.h`` on this side.

A kernel that needs noise calls these on blocks of registers, so that noise costs no memory:

    words = Philox4x32-10(counter = (element // 4, step, stream, 0), key = (seed low, seed high))
    u = (float32(word) + 0.5) * 2**-32
    z0, z1 = sqrt(-2 ln u0) (cos 2 pi u1, sin 2 pi u1);  z2, z3 from u2, u3

Logarithm, sine and cosine are the polynomials of ``csrc/cpu/simd/noise_math.h``, not the GPU's
functions: the interpreter then shows the accuracy that a GPU has. Normals are 7.9e-7 off at most
over 6 million pairs of u. Only sqrt.approx.f32 differs on a GPU; its documented relative error of
2**-23 makes that 1.54e-6 at worst.
"""

import triton
import triton.language as tl

from fastdiff.noise import M0, M1, ROUNDS, W0, W1

MUL0, MUL1 = tl.constexpr(M0), tl.constexpr(M1)
KEY0, KEY1 = tl.constexpr(W0), tl.constexpr(W1)
N_ROUNDS = tl.constexpr(ROUNDS)
# 1.5 * 2**23: x + ROUND is x rounded to an integer, which then stands in the low bits.
ROUND = tl.constexpr(12582912.0)


@triton.jit
def philox4x32(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """The four words, uint32, of a counter and a key, uint32."""
    for _ in tl.static_range(N_ROUNDS):
        p0 = c0.to(tl.uint64) * MUL0
        p1 = c2.to(tl.uint64) * MUL1
        c0 = (p1 >> 32).to(tl.uint32) ^ c1 ^ k0
        c1 = p1.to(tl.uint32)
        c2 = (p0 >> 32).to(tl.uint32) ^ c3 ^ k1
        c3 = p0.to(tl.uint32)
        k0 = (k0 + KEY0).to(tl.uint32)
        k1 = (k1 + KEY1).to(tl.uint32)
    return c0, c1, c2, c3


@triton.jit
def uniform_from_word(word):  # type: ignore[no-untyped-def]
    """u in (0, 1], float32; the cast from uint32 rounds to nearest even (cvt.rn.f32.u32)."""
    return (word.to(tl.float32) + 0.5) * 2.3283064365386963e-10


@triton.jit
def box_muller(u0, u1):  # type: ignore[no-untyped-def]
    """Two normals of two uniforms, float32."""
    # -2 ln u0: u0 = 2^e m, m in [2/3, 4/3), f = m - 1 exact.
    shifted = u0.to(tl.int32, bitcast=True) - 0x3F2AAAAB
    e = (shifted >> 23).to(tl.float32)
    f = ((shifted & 0x007FFFFF) + 0x3F2AAAAB).to(tl.float32, bitcast=True) - 1.0
    p = tl.fma(f, 0.25758567452430725, -0.27971187233924866)
    p = tl.fma(p, f, 0.24374908208847046)
    p = tl.fma(p, f, -0.2801108658313751)
    p = tl.fma(p, f, 0.3336044251918793)
    p = tl.fma(p, f, -0.4002087116241455)
    p = tl.fma(p, f, 0.4999960958957672)
    p = tl.fma(p, f, -0.6666643023490906)
    f2 = f * f
    y = tl.fma(f2 * f, p, f2)
    y = tl.fma(e, 4.2438887e-4, y)  # 2 ln 2 in two parts, the second times e exact
    y = tl.fma(f, -2.0, y)
    y = tl.fma(e, -1.38671875, y)
    r = tl.sqrt(y)
    # 2 pi u1: q quarter turns and t in [-1/8, 1/8] of a turn, exact.
    rounded = tl.fma(u1, 4.0, ROUND)
    q = rounded.to(tl.uint32, bitcast=True)
    t = tl.fma(rounded - ROUND, -0.25, u1)
    t2 = t * t
    s = tl.fma(t2, -74.61544799804688, 81.57170104980469)
    s = tl.fma(s, t2, -41.34150695800781)
    s = tl.fma(s, t2, 6.283185005187988) * t
    c = tl.fma(t2, 58.56019592285156, -85.42311096191406)
    c = tl.fma(c, t2, 64.93914031982422)
    c = tl.fma(c, t2, -19.739208221435547)
    c = tl.fma(c, t2, 1.0)
    odd = (q & 1) != 0
    # q mod 4 = 0: (c, s), 1: (-s, c), 2: (-c, -s), 3: (s, -c). Bit 1 holds the signs.
    z0 = (r * tl.where(odd, s, c)).to(tl.uint32, bitcast=True) ^ (((q + 1) << 30) & 0x80000000)
    z1 = (r * tl.where(odd, c, s)).to(tl.uint32, bitcast=True) ^ ((q << 30) & 0x80000000)
    return z0.to(tl.float32, bitcast=True), z1.to(tl.float32, bitcast=True)
