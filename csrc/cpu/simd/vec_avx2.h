// Eight 32-bit lanes in AVX2 and FMA, under the names that the bodies in this folder use.
// Everything is in an anonymous namespace: see noise_body.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace fd {
namespace {

using F32 = __m256;
using U32 = __m256i;
constexpr std::size_t kLanes = 8;

inline F32 set1(float a) { return _mm256_set1_ps(a); }
inline F32 add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
inline F32 sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
inline F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
inline F32 fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
inline F32 sqrt(F32 a) { return _mm256_sqrt_ps(a); }
inline F32 flip_sign(F32 a, U32 sign) { return _mm256_xor_ps(a, _mm256_castsi256_ps(sign)); }
inline U32 bits(F32 a) { return _mm256_castps_si256(a); }
inline F32 float_of_bits(U32 a) { return _mm256_castsi256_ps(a); }
inline F32 float_of_int(U32 a) { return _mm256_cvtepi32_ps(a); }  // signed
inline U32 round_to_int(F32 a) { return _mm256_cvtps_epi32(a); }  // to nearest even

inline U32 set1(std::uint32_t a) { return _mm256_set1_epi32(static_cast<int>(a)); }
inline U32 add(U32 a, U32 b) { return _mm256_add_epi32(a, b); }
inline U32 sub(U32 a, U32 b) { return _mm256_sub_epi32(a, b); }
inline U32 and_(U32 a, U32 b) { return _mm256_and_si256(a, b); }
inline U32 xor3(U32 a, U32 b, U32 c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
template <int n>
inline U32 shift_left(U32 a) {
  return _mm256_slli_epi32(a, n);
}
template <int n>
inline U32 shift_right_signed(U32 a) {
  return _mm256_srai_epi32(a, n);
}

// Lanes where bit 0 of `odd` is set take b, the others a.
inline F32 select_odd(U32 odd, F32 a, F32 b) {
  return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(_mm256_slli_epi32(odd, 31)));
}

// float32(a) rounded to nearest even. AVX2 converts signed integers only, so the halves, which are
// exact, are joined with a single rounding.
inline F32 float_of_unsigned(U32 a) {
  const F32 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(a, 16));
  const F32 low = _mm256_cvtepi32_ps(_mm256_and_si256(a, _mm256_set1_epi32(0xffff)));
  return _mm256_fmadd_ps(high, _mm256_set1_ps(65536.0f), low);
}

// The 64-bit products of the low halves of the 64-bit lanes; the upper halves are ignored.
inline U32 mul_wide(U32 a, U32 b) { return _mm256_mul_epu32(a, b); }
inline U32 high_halves(U32 a) { return _mm256_srli_epi64(a, 32); }
inline U32 join_halves(U32 even, U32 odd) {
  return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

// Lane i works on block 2 * (i % 4) + i / 4 (see store_transposed): the blocks of the even and of
// the odd lanes, each in the low half of a 64-bit lane.
inline U32 even_lane_blocks() { return _mm256_setr_epi32(0, 0, 4, 0, 1, 0, 5, 0); }
inline U32 odd_lane_blocks() { return _mm256_setr_epi32(2, 0, 6, 0, 3, 0, 7, 0); }
constexpr std::size_t block_of_lane(std::size_t i) { return 2 * (i % 4) + i / 4; }

// Stores 4 * kLanes elements: w[k] of block b goes to out[4 * b + k]. A 4x4 transposition in each
// 128-bit lane is enough, because of which block sits where.
inline void store_transposed(const U32 w[4], void* out) {
  const U32 ab_low = _mm256_unpacklo_epi32(w[0], w[1]), ab_high = _mm256_unpackhi_epi32(w[0], w[1]);
  const U32 cd_low = _mm256_unpacklo_epi32(w[2], w[3]), cd_high = _mm256_unpackhi_epi32(w[2], w[3]);
  U32* to = static_cast<U32*>(out);
  _mm256_storeu_si256(to + 0, _mm256_unpacklo_epi64(ab_low, cd_low));
  _mm256_storeu_si256(to + 1, _mm256_unpackhi_epi64(ab_low, cd_low));
  _mm256_storeu_si256(to + 2, _mm256_unpacklo_epi64(ab_high, cd_high));
  _mm256_storeu_si256(to + 3, _mm256_unpackhi_epi64(ab_high, cd_high));
}

inline U32 load(const std::uint32_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const U32*>(from));
}

inline F32 zero() { return _mm256_setzero_ps(); }
inline F32 load(const float* from) { return _mm256_loadu_ps(from); }
inline void store(float* to, F32 a) { _mm256_storeu_ps(to, a); }
// The first `count` < kLanes elements; the other lanes are 0, or not written.
inline U32 first_lanes(std::size_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline F32 load_partial(const float* from, std::size_t count) {
  return _mm256_maskload_ps(from, first_lanes(count));
}
inline void store_partial(float* to, F32 a, std::size_t count) {
  _mm256_maskstore_ps(to, first_lanes(count), a);
}
inline F32 div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
// As the instructions have it: the second operand where either is nan.
inline F32 max(F32 a, F32 b) { return _mm256_max_ps(a, b); }
inline F32 min(F32 a, F32 b) { return _mm256_min_ps(a, b); }
inline F32 abs(F32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline F32 neg_fma(F32 a, F32 b, F32 c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a b
inline U32 or_(U32 a, U32 b) { return _mm256_or_si256(a, b); }
inline float sum_lanes(F32 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float max_lanes(F32 a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
// Lanes where x < y take a, the others b (nan compares false).
inline F32 select_less(F32 x, F32 y, F32 a, F32 b) {
  return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
}
// a * 2^n for whole n in [-252, 254]; in two steps, so that what is subnormal is rounded once.
inline F32 scale(F32 a, F32 n) {
  const U32 whole = round_to_int(n), half = shift_right_signed<1>(whole);
  const U32 bias = set1(127u);
  const F32 b = mul(a, float_of_bits(shift_left<23>(add(half, bias))));
  return mul(b, float_of_bits(shift_left<23>(add(sub(whole, half), bias))));
}

}  // namespace
}  // namespace fd
