// Four 32-bit lanes in the compiler's own vectors (GCC and Clang), under the names that the bodies
// in this folder use: SSE2 on any x86-64, NEON on aarch64, plain code elsewhere. fma rounds twice
// here. Everything is in an anonymous namespace, as in vec_avx512.h.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fd {
namespace {

using F32 = float __attribute__((vector_size(16)));
using U32 = std::uint32_t __attribute__((vector_size(16)));
using S32 = std::int32_t __attribute__((vector_size(16)));
constexpr std::size_t kLanes = 4;

inline F32 set1(float a) { return F32{a, a, a, a}; }
inline F32 zero() { return F32{}; }
inline F32 add(F32 a, F32 b) { return a + b; }
inline F32 sub(F32 a, F32 b) { return a - b; }
inline F32 mul(F32 a, F32 b) { return a * b; }
inline F32 div(F32 a, F32 b) { return a / b; }
inline F32 fma(F32 a, F32 b, F32 c) { return a * b + c; }
inline F32 neg_fma(F32 a, F32 b, F32 c) { return c - a * b; }
inline F32 sqrt(F32 a) {
  return F32{std::sqrt(a[0]), std::sqrt(a[1]), std::sqrt(a[2]), std::sqrt(a[3])};
}
inline U32 bits(F32 a) { return reinterpret_cast<U32>(a); }
inline F32 float_of_bits(U32 a) { return reinterpret_cast<F32>(a); }
inline F32 float_of_int(U32 a) { return __builtin_convertvector(reinterpret_cast<S32>(a), F32); }
// To nearest even, for |a| < 2^22: adding and taking away 1.5 * 2^23 leaves the rounded number.
inline U32 round_to_int(F32 a) {
  const F32 magic = set1(12582912.0f);
  return bits(a + magic) - bits(magic);
}

inline U32 set1(std::uint32_t a) { return U32{a, a, a, a}; }
inline U32 add(U32 a, U32 b) { return a + b; }
inline U32 sub(U32 a, U32 b) { return a - b; }
inline U32 and_(U32 a, U32 b) { return a & b; }
inline U32 or_(U32 a, U32 b) { return a | b; }
inline U32 xor3(U32 a, U32 b, U32 c) { return a ^ b ^ c; }
template <int n>
inline U32 shift_left(U32 a) {
  return a << n;
}
template <int n>
inline U32 shift_right_signed(U32 a) {
  return reinterpret_cast<U32>(reinterpret_cast<S32>(a) >> n);
}
inline F32 flip_sign(F32 a, U32 sign) { return float_of_bits(bits(a) ^ sign); }
inline F32 abs(F32 a) { return float_of_bits(bits(a) & set1(0x7fffffffu)); }

// Lanes where the mask is all ones take a, where it is 0 b.
inline F32 choose(U32 mask, F32 a, F32 b) {
  return float_of_bits((bits(a) & mask) | (bits(b) & ~mask));
}
// Lanes where bit 0 of `odd` is set take b, the others a.
inline F32 select_odd(U32 odd, F32 a, F32 b) { return choose(U32{} - (odd & set1(1u)), b, a); }
// Lanes where x < y take a, the others b (nan compares false).
inline F32 select_less(F32 x, F32 y, F32 a, F32 b) {
  return choose(reinterpret_cast<U32>(x < y), a, b);
}
// As x86 has it: the second operand where either is nan.
inline F32 max(F32 a, F32 b) { return choose(reinterpret_cast<U32>(a > b), a, b); }
inline F32 min(F32 a, F32 b) { return choose(reinterpret_cast<U32>(a < b), a, b); }

inline F32 load(const float* from) {
  F32 a;
  std::memcpy(&a, from, sizeof(a));
  return a;
}
inline void store(float* to, F32 a) { std::memcpy(to, &a, sizeof(a)); }
// The first `count` < kLanes elements; the other lanes are 0, or not written.
inline F32 load_partial(const float* from, std::size_t count) {
  F32 a{};
  for (std::size_t i = 0; i < count; ++i) a[i] = from[i];
  return a;
}
inline void store_partial(float* to, F32 a, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] = a[i];
}
inline float sum_lanes(F32 a) { return (a[0] + a[2]) + (a[1] + a[3]); }
inline float max_lanes(F32 a) {
  const float low = a[0] > a[1] ? a[0] : a[1], high = a[2] > a[3] ? a[2] : a[3];
  return low > high ? low : high;
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
