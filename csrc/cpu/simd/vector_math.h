// The functions of ops/epilogue.h on vectors, written once over the names in vec_*.h. Minimax
// polynomials, fitted as those in noise_math.h. Largest errors against float64, over all inputs
// unless said (one float in 97 was tried; tests/cpp/test_activations.cpp tries fewer), and cycles a
// vector with its load and store, on Zen 4, for 16 / 8 / 4 lanes (AVX-512, AVX2, plain):
//
//   gelu       2.0e-7 absolute (AVX-512; relative 8.5e-6 for x > 0), 3.8e-7 elsewhere   8.5  8.9 16
//   gelu_tanh  1.2e-7 absolute where |y| <= 1, 1.6e-7 relative for x > 0                15   9.6 18
//   silu       1.1e-7 absolute where |y| <= 1, 1.5e-7 relative for x > 0                11   6.8 14
//   sigmoid    2.3 ulps, down to the subnormals                                         16   15 28
//   tanh       1.4 ulps                                                                 23   21 38
//   elu        0.95 ulps, exact for x > 0                                     about as exp
//   exp        1.0 ulp, down to the subnormals                                          10   10 20
//   log        0.83 ulps, subnormals too                                                23   16 28
//   sin, cos   9.3e-8 absolute for |x| <= 12800; with fma up to 2e6, without it 1e-6    17   11 22
//              up to 1e5; beyond that the angle is lost, but |y| <= 1
//   rsqrt      1.5 ulps                                                                 16   8.4 49
//   sqrt       correctly rounded; relu, neg and abs are exact
//
// nan gives nan everywhere, infinities the limits, but for silu and gelu_tanh at -infinity: they
// stay below 1.5e-36 in size there (torch: nan). The sign of a zero result is not kept, nor is a
// nan's payload.
#pragma once

#ifdef FD_VEC_HAS_TABLE32
#include "cpu/simd/gelu_table.h"
#endif

namespace fd {
namespace {

// Adding 1.5 * 2^23 rounds to a whole number, which is then in the low bits.
constexpr float kRoundingShift = 12582912.0f;

inline F32 relu(F32 x) { return max(zero(), x); }  // max gives its second operand where that is nan
inline F32 neg(F32 x) { return flip_sign(x, set1(0x80000000u)); }
inline F32 rsqrt(F32 x) { return div(set1(1.0f), sqrt(x)); }

// x with the sign of `of`, for x >= 0.
inline F32 with_sign(F32 x, F32 of) {
  return float_of_bits(or_(bits(x), and_(bits(of), set1(0x80000000u))));
}

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln(2) / 2; ln 2 in two parts, so that n times the
// first is exact. expm1 = e^r - 1, as accurate for small r as for large ones.
struct ReducedExp {
  F32 n, expm1;
};
inline ReducedExp reduced_exp(F32 x) {
  const F32 n = sub(fma(x, set1(1.4426950216293335f), set1(kRoundingShift)), set1(kRoundingShift));
  F32 r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.1219444170128554e-4f), r);
  F32 p = set1(0.001381422160193324f);
  p = fma(p, r, set1(0.00836889911442995f));
  p = fma(p, r, set1(0.04166840761899948f));
  p = fma(p, r, set1(0.1666651964187622f));
  p = fma(p, r, set1(0.4999999403953552f));
  return {n, fma(mul(p, r), r, r)};
}

// Outside of the limits the result is 0 or infinite; in this order of operands nan stays.
inline F32 exp(F32 x) {
  const ReducedExp e = reduced_exp(min(set1(89.0f), max(set1(-104.0f), x)));
  return scale(add(e.expm1, set1(1.0f)), e.n);
}

// ln x = e ln 2 + ln(1 + f), where x = 2^e (1 + f) and 1 + f is in [2/3, 4/3); see
// box_muller_radius in noise_math.h, whose polynomial this is.
inline F32 log(F32 x) {
  const F32 smallest = set1(1.1754943508222875e-38f);
  const F32 normal = select_less(x, smallest, mul(x, set1(8388608.0f)), x);
  constexpr std::uint32_t two_thirds = 0x3f2aaaabu;
  const U32 shifted = sub(bits(normal), set1(two_thirds));
  const F32 e = add(float_of_int(shift_right_signed<23>(shifted)),
                    select_less(x, smallest, set1(-23.0f), zero()));
  const U32 m = add(and_(shifted, set1(0x007fffffu)), set1(two_thirds));
  const F32 f = sub(float_of_bits(m), set1(1.0f));
  F32 p = set1(-0.12879283726215363f);
  p = fma(p, f, set1(0.13985593616962433f));
  p = fma(p, f, set1(-0.12187454104423523f));
  p = fma(p, f, set1(0.14005543291568756f));
  p = fma(p, f, set1(-0.16680221259593964f));
  p = fma(p, f, set1(0.2001043558120728f));
  p = fma(p, f, set1(-0.24999804794788361f));
  p = fma(p, f, set1(0.3333321511745453f));
  const F32 f2 = mul(f, f);
  F32 y = fma(mul(f2, f), p, mul(f2, set1(-0.5f)));
  y = fma(e, set1(-2.1219444170128554e-4f), y);
  y = add(f, y);
  y = fma(e, set1(0.693359375f), y);
  const F32 infinity = float_of_bits(set1(0x7f800000u));
  y = select_less(x, infinity, y, x);  // infinity and nan stay
  y = select_less(zero(), abs(x), y, select_less(abs(x), set1(1.0f), neg(infinity), x));
  return select_less(x, zero(), float_of_bits(set1(0x7fc00000u)), y);
}

// sin(x + quarters * pi / 2): with q = round(2 x / pi), r = x - q pi / 2 by Cody and Waite, pi / 2
// in parts of 8, 11 and 24 bits, so that the first two products are exact for |x| <= 12800 even
// where fma rounds twice. r is held near its interval: far out, where it means nothing, the result
// is still within [-1, 1].
inline F32 sin_quarter_turns(F32 x, std::uint32_t quarters) {
  const F32 shifted = fma(x, set1(0.6366197466850281f), set1(kRoundingShift));
  const U32 q = add(bits(shifted), set1(quarters));
  const F32 n = sub(shifted, set1(kRoundingShift));
  F32 r = fma(n, set1(-1.5703125f), x);
  r = fma(n, set1(-4.837512969970703125e-4f), r);
  r = fma(n, set1(-7.549790126404332e-8f), r);
  r = min(set1(1.0f), max(set1(-1.0f), r));
  const F32 r2 = mul(r, r);
  F32 s = set1(-0.000195169763173908f);
  s = fma(s, r2, set1(0.008332176133990288f));
  s = fma(s, r2, set1(-0.16666655242443085f));
  s = fma(mul(s, r2), r, r);
  F32 c = set1(2.4432783902739175e-5f);
  c = fma(c, r2, set1(-0.0013887312961742282f));
  c = fma(c, r2, set1(0.04166664555668831f));
  c = fma(mul(c, r2), r2, fma(r2, set1(-0.5f), set1(1.0f)));
  return flip_sign(select_odd(q, s, c), and_(shift_left<30>(q), set1(0x80000000u)));
}
inline F32 sin(F32 x) { return sin_quarter_turns(x, 0); }
inline F32 cos(F32 x) { return sin_quarter_turns(x, 1); }

// 1 / (1 + e^-x), by the e^-|x| that is at most 1: accurate relative to itself on both sides.
inline F32 sigmoid(F32 x) {
  const F32 e = exp(neg(abs(x)));
  return div(select_less(x, zero(), e, set1(1.0f)), add(set1(1.0f), e));
}

// Of |x|: an odd polynomial below 0.625, 1 - 2 / (e^2|x| + 1) above. Then the sign.
inline F32 tanh(F32 x) {
  const F32 a = abs(x), a2 = mul(a, a);
  F32 p = set1(-0.005714685656130314f);
  p = fma(p, a2, set1(0.020648572593927383f));
  p = fma(p, a2, set1(-0.0537429116666317f));
  p = fma(p, a2, set1(0.133314847946167f));
  p = fma(p, a2, set1(-0.3333328366279602f));
  p = fma(mul(p, a2), a, a);
  const F32 e = exp(add(a, a));
  const F32 large = sub(set1(1.0f), div(set1(2.0f), add(e, set1(1.0f))));
  return with_sign(select_less(a, set1(0.625f), p, large), x);
}

// The sum of x above 0 and of e^x - 1 = 2^n expm1 + (2^n - 1) below, each 0 on the other side; near
// 0, where n is 0, expm1 stands alone. Below -20 all of e^x is lost beside the 1.
inline F32 elu(F32 x) {
  const ReducedExp e = reduced_exp(min(zero(), max(set1(-20.0f), x)));
  const F32 power = scale(set1(1.0f), e.n);
  return add(relu(x), fma(e.expm1, power, sub(power, set1(1.0f))));
}

// 1 + e^-x for |x| <= 87: less exact than by exp() where that is large, so for use under an x that
// makes the quotient small there. A quintic for 2^f, f = x / ln 2 less the whole number n that the
// shift rounds to; n goes into the exponent as it stands in the low bits.
inline F32 one_plus_exp_neg(F32 x) {
  const F32 to_halvings = set1(-1.4426950216293335f);
  const F32 shifted = fma(x, to_halvings, set1(kRoundingShift));
  const F32 f = fma(x, to_halvings, sub(set1(kRoundingShift), shifted));
  F32 p = set1(0.0013264453737065196f);
  p = fma(p, f, set1(0.009671725332736969f));
  p = fma(p, f, set1(0.0555073618888855f));
  p = fma(p, f, set1(0.24022239446640015f));
  p = fma(p, f, set1(0.6931470036506653f));
  p = fma(p, f, set1(1.0f));
  return add(set1(1.0f), float_of_bits(add(bits(p), shift_left<23>(bits(shifted)))));
}

// x / (1 + e^-x); below -87 what it is at -87, -1.4e-36, also at -infinity.
inline F32 silu(F32 x) {
  x = max(set1(-87.0f), x);
  return div(x, one_plus_exp_neg(min(set1(87.0f), x)));
}

// x / (1 + e^-z), z = 2 sqrt(2 / pi) (x + 0.044715 x^3): the usual form by tanh, halved. Below -9.9
// what it is there, -1.2e-36.
inline F32 gelu_tanh(F32 x) {
  x = max(set1(-9.9f), x);
  const F32 z = mul(x, fma(mul(x, x), set1(0.07135481387376785f), set1(1.5957691669464111f)));
  return div(x, one_plus_exp_neg(min(set1(87.0f), z)));
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|): what is subtracted is at most 0.17, so that large x come
// out as they are and very negative ones as 0.
inline F32 gelu(F32 x) {
#ifdef FD_VEC_HAS_TABLE32
  const F32 v = min(set1(kGeluEnd), abs(x));
  const U32 cell = bits(fma(v, set1(kGeluCells), set1(kGeluStart)));
  F32 y = table32(kGeluCubics[3], cell);
  y = fma(y, v, table32(kGeluCubics[2], cell));
  y = fma(y, v, table32(kGeluCubics[1], cell));
  y = fma(y, v, table32(kGeluCubics[0], cell));
  return add(max(zero(), x), y);
#else
  // Phi(-v) = 1/2 P(v)^-16, the form of Abramowitz and Stegun's 7.1.28 with a degree more, fitted
  // anew.
  const F32 v = min(set1(100.0f), abs(x));
  F32 p = set1(8.168540830411075e-07f);
  p = fma(p, v, set1(-2.073174755423679e-06f));
  p = fma(p, v, set1(7.478499173885211e-05f));
  p = fma(p, v, set1(-5.1476695261953864e-06f));
  p = fma(p, v, set1(0.0033132999669760466f));
  p = fma(p, v, set1(0.02112751640379429f));
  p = fma(p, v, set1(0.04986904409397011f));
  p = fma(p, v, set1(1.0f));
  p = mul(p, p);
  p = mul(p, p);
  p = mul(p, p);
  p = mul(p, p);
  return add(max(zero(), x), div(mul(set1(-0.5f), v), p));
#endif
}

}  // namespace
}  // namespace fd
