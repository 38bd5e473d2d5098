// Philox4x32-10 words, uniforms and normals, 4 * kLanes elements at a time (core/philox.h has the
// formulas). Written once; noise_avx2.cpp and noise_avx512.cpp each include it after their vec_*.h
// and are compiled with their own -m flags.
//
// Rule for every file compiled that way: include <immintrin.h>, <cstdint>, <cstddef> and headers
// without inline code only, and put all in an anonymous namespace. An inline function of the
// standard library emitted here would be a weak symbol holding AVX code, which the linker may pick
// for the whole program; a test looks for such symbols.
//
// Layout: lane i of the four word vectors belongs to block block_of_lane(i), chosen so that the
// store needs a transposition inside 128-bit lanes only. Philox runs on two half vectors (blocks in
// 64-bit lanes) since x86 multiplies 32 x 32 -> 64 bits in such lanes.
//
// Accuracy: words and uniforms bit-exact. Normals within 6.7e-7 of float64 math on the same
// uniforms over 2.6e8 normals of Philox, 8.2e-7 over as many with u0 drawn evenly in log u0, and
// never above 1.1e-6 (the errors in noise_math.h, which are exhaustive, put together). Both ISAs
// give the same bits.
//
// Writes 4 bytes per element, reads nothing. AMD EPYC Zen 5, one core, [64, 3072] normals: AVX-512
// 2190 M/s, AVX2 860 M/s (two cores: 3990 and 1610); there NumPy 2.4's float32 standard_normal
// makes 120 (Philox) to 148 M/s (SFC64), torch 2.13's normal_ 430 M/s, cpu/reference 63 M/s.
#pragma once

#include "core/philox_constants.h"
#include "cpu/noise_kernels.h"
#include "cpu/simd/noise_math.h"

namespace fd {
namespace {

constexpr std::size_t kGroup = 4 * kLanes;  // elements made at a time

// Each 64-bit lane holds one block's words in its low half; the upper halves hold leftovers, which
// neither mul_wide nor join_halves looks at.
struct HalfGroup {
  U32 c0, c1, c2, c3;
};

inline HalfGroup philox_round(const HalfGroup& c, U32 k0, U32 k1) {
  const U32 p0 = mul_wide(c.c0, set1(kPhiloxMul0));
  const U32 p1 = mul_wide(c.c2, set1(kPhiloxMul1));
  return {xor3(high_halves(p1), c.c1, k0), p1, xor3(high_halves(p0), c.c3, k1), p0};
}

inline void philox_group(const NoiseRow& row, std::uint32_t first_block, U32 w[4]) {
  const U32 base = set1(first_block), step = set1(row.step), stream = set1(row.stream);
  HalfGroup even{add(base, even_lane_blocks()), step, stream, set1(0u)};
  HalfGroup odd{add(base, odd_lane_blocks()), step, stream, set1(0u)};
  std::uint32_t k0 = static_cast<std::uint32_t>(row.seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(row.seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    even = philox_round(even, set1(k0), set1(k1));
    odd = philox_round(odd, set1(k0), set1(k1));
    k0 += kPhiloxKey0;
    k1 += kPhiloxKey1;
  }
  w[0] = join_halves(even.c0, odd.c0);
  w[1] = join_halves(even.c1, odd.c1);
  w[2] = join_halves(even.c2, odd.c2);
  w[3] = join_halves(even.c3, odd.c3);
}

inline F32 uniform_of_words(U32 w) {
  return mul(add(float_of_unsigned(w), set1(0.5f)), set1(kUniformScale));
}

// What a kernel does with the words of a group, in place.
struct KeepWords {
  static void apply(U32*) {}
};

struct ToUniform {
  static void apply(U32 w[4]) {
    for (int i = 0; i < 4; ++i) w[i] = bits(uniform_of_words(w[i]));
  }
};

struct ToNormal {
  static void apply(U32 w[4]) {
    for (int i = 0; i < 4; i += 2) {
      const F32 r = box_muller_radius(uniform_of_words(w[i]));
      F32 cosine, sine;
      cos_sin_turns(uniform_of_words(w[i + 1]), &cosine, &sine);
      w[i] = bits(mul(r, cosine));
      w[i + 1] = bits(mul(r, sine));
    }
  }
};

// A partial group at the end goes through a buffer and the same code, so an element's bits do not
// depend on where its row was cut.
template <class Map, class T>
void fill(const NoiseRow& row, T* out) {
  std::uint32_t block = row.first_block;
  std::size_t left = row.count;
  for (; left != 0; block += static_cast<std::uint32_t>(kLanes), out += kGroup, left -= kGroup) {
    U32 w[4];
    philox_group(row, block, w);
    Map::apply(w);
    if (left < kGroup) {
      alignas(64) T buffer[kGroup];
      store_transposed(w, buffer);
      for (std::size_t i = 0; i < left; ++i) out[i] = buffer[i];
      return;
    }
    store_transposed(w, out);
  }
}

void normals_of_words(const std::uint32_t* words, std::size_t blocks, float* out) {
  for (std::size_t done = 0; done < blocks; done += kLanes) {
    alignas(64) std::uint32_t lanes[4][kLanes] = {};
    alignas(64) float buffer[kGroup];
    const std::size_t here = blocks - done < kLanes ? blocks - done : kLanes;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::size_t block = block_of_lane(lane);
      for (std::size_t k = 0; k < 4 && block < here; ++k) {
        lanes[k][lane] = words[4 * (done + block) + k];
      }
    }
    U32 w[4] = {load(lanes[0]), load(lanes[1]), load(lanes[2]), load(lanes[3])};
    ToNormal::apply(w);
    store_transposed(w, buffer);
    for (std::size_t i = 0; i < 4 * here; ++i) out[4 * done + i] = buffer[i];
  }
}

constexpr NoiseKernels kKernels = {fill<KeepWords, std::uint32_t>, fill<ToUniform, float>,
                                   fill<ToNormal, float>, normals_of_words};

}  // namespace
}  // namespace fd
