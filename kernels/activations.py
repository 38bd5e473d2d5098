"""The unary kinds of a program as device functions: float32 in, float32 out, not rounded between.

The names and their order are those of ``program/ir.py`` (a room that kernels do not import; a test
holds the two together). Formulas keep the relative error near zero and never overflow into nan:

    tanh      Cephes' odd polynomial below 0.625; else sign(x) (1 - 2 e / (1 + e)), e = exp(-2 |x|)
    elu       above -0.5 exp(x) - 1 is 2 t / (1 - t), t = tanh(x / 2)
    gelu_tanh x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
    exp       2^n exp(r), n the integer nearest x / ln 2: a GPU's 2^y alone is off by |x| 2^-24,
              which is harmless in a sigmoid and would not be here

erf, log, sin and cos are libdevice's, with full range and within 2 units in the last place. sin
and cos take 28 bytes of stack a thread for arguments above 1e5: memory, but no spill.
"""

import triton
import triton.language as tl

from .launch import INTERPRETED

KINDS = (
    *("relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "elu"),
    *("exp", "log", "sin", "cos", "sqrt", "rsqrt", "neg", "abs"),
)
INDEX = {kind: tl.constexpr(i) for i, kind in enumerate(KINDS)}
RELU = INDEX["relu"]
GELU = INDEX["gelu"]
GELU_TANH = INDEX["gelu_tanh"]
SILU = INDEX["silu"]
SIGMOID = INDEX["sigmoid"]
TANH = INDEX["tanh"]
ELU = INDEX["elu"]
EXP = INDEX["exp"]
LOG = INDEX["log"]
SIN = INDEX["sin"]
COS = INDEX["cos"]
SQRT = INDEX["sqrt"]
RSQRT = INDEX["rsqrt"]
NEG = INDEX["neg"]
ABS = INDEX["abs"]


@triton.jit
def tanh_near_zero(x):  # type: ignore[no-untyped-def]
    """tanh(x) of |x| < 0.625, float32."""
    z = x * x
    p = tl.fma(z, -5.70498872745e-3, 2.06390887954e-2)
    p = tl.fma(p, z, -5.37397155531e-2)
    p = tl.fma(p, z, 1.33314422036e-1)
    p = tl.fma(p, z, -3.33332819422e-1)
    return tl.fma(p * z, x, x)


@triton.jit
def tanh(x):  # type: ignore[no-untyped-def]
    """tanh(x), float32."""
    e = tl.exp(-2.0 * tl.abs(x))
    large = 1.0 - 2.0 * e / (1.0 + e)
    large = tl.where(x < 0, -large, large)
    return tl.where(tl.abs(x) < 0.625, tanh_near_zero(x), large)


@triton.jit
def elu(x):  # type: ignore[no-untyped-def]
    """elu(x), float32."""
    t = tanh_near_zero(0.5 * x)
    below = tl.where(x > -0.5, 2.0 * t / (1.0 - t), tl.exp(x) - 1.0)
    return tl.where(x > 0, x, below)


@triton.jit
def accurate_exp(x):  # type: ignore[no-untyped-def]
    """exp(x), float32, within 2 units in the last place over its whole range."""
    x = tl.where(x > 89.0, 89.0, x)  # inf already; nan passes
    x = tl.where(x < -104.0, -104.0, x)
    n = tl.floor(x * 1.4426950408889634 + 0.5)
    r = tl.fma(n, -0.693145751953125, x)  # ln 2 in two parts, the first times n exact
    r = tl.fma(n, -1.428606765330187e-06, r)
    half = tl.floor(n * 0.5)  # 2^n in two: neither 2^128 nor 2^-140 is a normal number
    return tl.exp2(r * 1.4426950408889634) * tl.exp2(half) * tl.exp2(n - half)


@triton.jit  # type: ignore[untyped-decorator]
def unary(x, KIND: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """The unary op ``KINDS[KIND]`` of x, float32."""
    if KIND == RELU:
        y = tl.where(x < 0, 0.0, x)  # nan passes
    elif KIND == GELU:
        y = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    elif KIND == GELU_TANH:
        u = 0.7978845608028654 * tl.fma(x * x * 0.044715, x, x)
        y = x / (1.0 + tl.exp(-2.0 * u))
    elif KIND == SILU:
        y = x / (1.0 + tl.exp(-x))
    elif KIND == SIGMOID:
        y = 1.0 / (1.0 + tl.exp(-x))
    elif KIND == TANH:
        y = tanh(x)
    elif KIND == ELU:
        y = elu(x)
    elif KIND == EXP:
        y = accurate_exp(x)
    elif KIND == LOG:
        y = tl.log(x)
    elif KIND == SIN:
        y = tl.sin(x)
    elif KIND == COS:
        y = tl.cos(x)
    elif KIND == SQRT:
        y = tl.sqrt_rn(x)
    elif KIND == RSQRT:
        y = tl.rsqrt(x)
    elif KIND == NEG:
        y = -x
    else:
        tl.static_assert(KIND == ABS)
        y = tl.abs(x)
    return y


ON_INTERPRETER = tl.constexpr(INTERPRETED)


@triton.jit
def rounded_bits(y):  # type: ignore[no-untyped-def]
    """y, float32, as the nearest bfloat16, to even; nan passes."""
    bits = y.to(tl.uint32, bitcast=True)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    nearest = tl.where((bits & 0x7FFFFFFF) > 0x7F800000, bits, nearest)
    return nearest.to(tl.float32, bitcast=True)


@triton.jit  # type: ignore[untyped-decorator]
def rounded(y, DTYPE: tl.constexpr):  # type: ignore[no-untyped-def]
    """y, float32, in DTYPE, to nearest even.

    A GPU's own conversion does that. The interpreter's cuts off what bfloat16 has no bits for, and
    would show twice the error that a kernel has; there the bits are rounded first.
    """
    if ON_INTERPRETER:
        y = rounded_bits(y) if DTYPE.is_bf16() else y
    return y.to(DTYPE)
