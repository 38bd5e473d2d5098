// Sixteen 32-bit lanes in AVX-512 (F, VL, BW, DQ), under the names that the bodies in this folder
// use. Everything is in an anonymous namespace: see noise_body.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace fd {
namespace {

using F32 = __m512;
using U32 = __m512i;
constexpr std::size_t kLanes = 16;

inline F32 set1(float a) { return _mm512_set1_ps(a); }
inline F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
inline F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
inline F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
inline F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
inline F32 sqrt(F32 a) { return _mm512_sqrt_ps(a); }
inline F32 flip_sign(F32 a, U32 sign) { return _mm512_xor_ps(a, _mm512_castsi512_ps(sign)); }
inline U32 bits(F32 a) { return _mm512_castps_si512(a); }
inline F32 float_of_bits(U32 a) { return _mm512_castsi512_ps(a); }
inline F32 float_of_int(U32 a) { return _mm512_cvtepi32_ps(a); }       // signed
inline F32 float_of_unsigned(U32 a) { return _mm512_cvtepu32_ps(a); }  // to nearest even
inline U32 round_to_int(F32 a) { return _mm512_cvtps_epi32(a); }       // to nearest even

inline U32 set1(std::uint32_t a) { return _mm512_set1_epi32(static_cast<int>(a)); }
inline U32 add(U32 a, U32 b) { return _mm512_add_epi32(a, b); }
inline U32 sub(U32 a, U32 b) { return _mm512_sub_epi32(a, b); }
inline U32 and_(U32 a, U32 b) { return _mm512_and_si512(a, b); }
inline U32 xor3(U32 a, U32 b, U32 c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }
template <int n>
inline U32 shift_left(U32 a) {
  return _mm512_slli_epi32(a, n);
}
template <int n>
inline U32 shift_right_signed(U32 a) {
  return _mm512_srai_epi32(a, n);
}

// Lanes where bit 0 of `odd` is set take b, the others a.
inline F32 select_odd(U32 odd, F32 a, F32 b) {
  return _mm512_mask_blend_ps(_mm512_test_epi32_mask(odd, _mm512_set1_epi32(1)), a, b);
}

// The 64-bit products of the low halves of the 64-bit lanes; the upper halves are ignored.
inline U32 mul_wide(U32 a, U32 b) { return _mm512_mul_epu32(a, b); }
inline U32 high_halves(U32 a) { return _mm512_srli_epi64(a, 32); }
inline U32 join_halves(U32 even, U32 odd) {
  return _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}

// Lane i works on block 4 * (i % 4) + i / 4 (see store_transposed): the blocks of the even and of
// the odd lanes, each in the low half of a 64-bit lane.
inline U32 even_lane_blocks() { return _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11); }
inline U32 odd_lane_blocks() { return _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15); }
constexpr std::size_t block_of_lane(std::size_t i) { return 4 * (i % 4) + i / 4; }

// Stores 4 * kLanes elements: w[k] of block b goes to out[4 * b + k]. A 4x4 transposition in each
// 128-bit lane is enough, because of which block sits where.
inline void store_transposed(const U32 w[4], void* out) {
  const U32 ab_low = _mm512_unpacklo_epi32(w[0], w[1]), ab_high = _mm512_unpackhi_epi32(w[0], w[1]);
  const U32 cd_low = _mm512_unpacklo_epi32(w[2], w[3]), cd_high = _mm512_unpackhi_epi32(w[2], w[3]);
  U32* to = static_cast<U32*>(out);
  _mm512_storeu_si512(to + 0, _mm512_unpacklo_epi64(ab_low, cd_low));
  _mm512_storeu_si512(to + 1, _mm512_unpackhi_epi64(ab_low, cd_low));
  _mm512_storeu_si512(to + 2, _mm512_unpacklo_epi64(ab_high, cd_high));
  _mm512_storeu_si512(to + 3, _mm512_unpackhi_epi64(ab_high, cd_high));
}

inline U32 load(const std::uint32_t* from) { return _mm512_loadu_si512(from); }

inline F32 zero() { return _mm512_setzero_ps(); }
inline F32 load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, F32 a) { _mm512_storeu_ps(to, a); }
// The first `count` < kLanes elements; the other lanes are 0, or not written.
inline __mmask16 first_lanes(std::size_t count) {
  return static_cast<__mmask16>((1u << count) - 1u);
}
inline F32 load_partial(const float* from, std::size_t count) {
  return _mm512_maskz_loadu_ps(first_lanes(count), from);
}
inline void store_partial(float* to, F32 a, std::size_t count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), a);
}
inline F32 div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
// As the instructions have it: the second operand where either is nan.
inline F32 max(F32 a, F32 b) { return _mm512_max_ps(a, b); }
inline F32 min(F32 a, F32 b) { return _mm512_min_ps(a, b); }
inline F32 abs(F32 a) { return _mm512_abs_ps(a); }
inline F32 neg_fma(F32 a, F32 b, F32 c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
inline U32 or_(U32 a, U32 b) { return _mm512_or_si512(a, b); }
inline float sum_lanes(F32 a) { return _mm512_reduce_add_ps(a); }
inline float max_lanes(F32 a) { return _mm512_reduce_max_ps(a); }
// Lanes where x < y take a, the others b (nan compares false).
inline F32 select_less(F32 x, F32 y, F32 a, F32 b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a);
}
// a * 2^n for whole n, rounded once where that is subnormal.
inline F32 scale(F32 a, F32 n) { return _mm512_scalef_ps(a, n); }
// table[index % 32] in one permutation: where it's cheap, FD_VEC_HAS_TABLE32 says so.
#define FD_VEC_HAS_TABLE32
inline F32 table32(const float* table, U32 index) {
  return _mm512_permutex2var_ps(_mm512_loadu_ps(table), index, _mm512_loadu_ps(table + 16));
}

}  // namespace
}  // namespace fd
