// The vector functions of Box-Muller, written once over the names in vec_*.h. The polynomials are
// minimax fits (Lawson's iteration in extended precision), each coefficient rounded to float32
// before the next ones were fitted. Errors are the largest over all 79,691,777 values that u takes,
// against float64 math; tests/cpp/test_vector_math.cpp covers a dense part of them on every run.
#pragma once

namespace fd {
namespace {

// sqrt(-2 ln u) for u in [2^-33, 1]. Error 4.0e-7 absolute, 9.9e-8 relative (1.6 half ulps); 0 at u
// = 1.
//
// u = 2^e m with m in [2/3, 4/3), f = m - 1 exact, and
// -2 ln u = -2 f + f^2 + f^3 P(f) - 2 e ln 2, where P alone is 4.7e-9 off relative to the whole.
// Near u = 1, e is 0, and what is left is accurate relative to its own small value.
inline F32 box_muller_radius(F32 u) {
  constexpr std::uint32_t two_thirds = 0x3f2aaaabu;
  const U32 shifted = sub(bits(u), set1(two_thirds));
  const F32 e = float_of_int(shift_right_signed<23>(shifted));
  const U32 m = add(and_(shifted, set1(0x007fffffu)), set1(two_thirds));
  const F32 f = sub(float_of_bits(m), set1(1.0f));
  F32 p = set1(0.25758567452430725f);
  p = fma(p, f, set1(-0.27971187233924866f));
  p = fma(p, f, set1(0.24374908208847046f));
  p = fma(p, f, set1(-0.2801108658313751f));
  p = fma(p, f, set1(0.3336044251918793f));
  p = fma(p, f, set1(-0.4002087116241455f));
  p = fma(p, f, set1(0.4999960958957672f));
  p = fma(p, f, set1(-0.6666643023490906f));
  // 2 ln 2 in two parts: the first has 9 bits, so that its product with e is exact.
  const F32 f2 = mul(f, f);
  F32 y = fma(mul(f2, f), p, f2);
  y = fma(e, set1(4.2438887e-4f), y);
  y = fma(f, set1(-2.0f), y);
  y = fma(e, set1(-1.38671875f), y);
  return sqrt(y);
}

// cos and sin of 2 pi u for u in [0, 1]. Error 6.8e-8 absolute each.
//
// In turns the reduction is exact: t = u - q / 4 with q = round(4 u) has |t| <= 1/8, and
// sin 2 pi t = t S(t^2), cos 2 pi t = 1 + t^2 C(t^2). q turns the pair by quarters.
inline void cos_sin_turns(F32 u, F32* cosine, F32* sine) {
  const U32 q = round_to_int(mul(u, set1(4.0f)));
  const F32 t = fma(float_of_int(q), set1(-0.25f), u);
  const F32 t2 = mul(t, t);
  F32 s = set1(-74.61544799804688f);
  s = fma(s, t2, set1(81.57170104980469f));
  s = fma(s, t2, set1(-41.34150695800781f));
  s = fma(s, t2, set1(6.283185005187988f));
  s = mul(s, t);
  F32 c = set1(58.56019592285156f);
  c = fma(c, t2, set1(-85.42311096191406f));
  c = fma(c, t2, set1(64.93914031982422f));
  c = fma(c, t2, set1(-19.739208221435547f));
  c = fma(c, t2, set1(1.0f));
  // q = 0: (c, s), 1: (-s, c), 2: (-c, -s), 3: (s, -c), 4 as 0. Bit 1 holds the signs.
  const U32 sign = set1(0x80000000u);
  *cosine = flip_sign(select_odd(q, c, s), and_(shift_left<30>(add(q, set1(1u))), sign));
  *sine = flip_sign(select_odd(q, s, c), and_(shift_left<30>(q), sign));
}

}  // namespace
}  // namespace fd
