// Noise as a function of (seed, step, stream, element), for host and device alike.
//
//   key     = (seed low word, seed high word)
//   counter = (element / 4, step, stream, 0)
//   words   = Philox4x32-10(counter, key); element e takes word e % 4
//   u       = (float32(word) + 0.5) * 2^-32            every operation in float32: bit-exact
//   normals = sqrt(-2 ln u0) (cos 2 pi u1, sin 2 pi u1), the same again with u2, u3
//
// u lies in (0, 1], and 1 does occur: words near 2^32 round up to 2^32.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/philox_constants.h"

#if defined(__CUDACC__)
#define FD_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define FD_HOST_DEVICE inline
#endif

namespace fd {

struct PhiloxBlock {
  std::uint32_t word[4];
};

FD_HOST_DEVICE PhiloxBlock philox_round(const PhiloxBlock& c, std::uint32_t k0, std::uint32_t k1) {
  const std::uint64_t p0 = static_cast<std::uint64_t>(kPhiloxMul0) * c.word[0];
  const std::uint64_t p1 = static_cast<std::uint64_t>(kPhiloxMul1) * c.word[2];
  return {{static_cast<std::uint32_t>(p1 >> 32) ^ c.word[1] ^ k0, static_cast<std::uint32_t>(p1),
           static_cast<std::uint32_t>(p0 >> 32) ^ c.word[3] ^ k1, static_cast<std::uint32_t>(p0)}};
}

FD_HOST_DEVICE PhiloxBlock philox4x32_10(PhiloxBlock counter, std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    counter = philox_round(counter, k0, k1);
    k0 += kPhiloxKey0;
    k1 += kPhiloxKey1;
  }
  return counter;
}

// The four words of elements 4 * block ... 4 * block + 3 of one sample.
FD_HOST_DEVICE PhiloxBlock noise_block(std::uint64_t seed, std::uint32_t step, std::uint32_t stream,
                                       std::uint32_t block) {
  return philox4x32_10({{block, step, stream, 0}}, static_cast<std::uint32_t>(seed),
                       static_cast<std::uint32_t>(seed >> 32));
}

FD_HOST_DEVICE float uniform_of_word(std::uint32_t word) {
  return (static_cast<float>(word) + 0.5f) * kUniformScale;  // the cast rounds to nearest even
}

// The pair of normals of the pair of uniforms. On the host this is the reference: float64 math on
// the float32 uniforms. On the device float32 functions keep it within 2e-6 of that.
FD_HOST_DEVICE void box_muller(float u0, float u1, float* z0, float* z1) {
#if defined(__CUDA_ARCH__)
  const float r = sqrtf(-2.0f * logf(u0));
  float sine, cosine;
  sincospif(2.0f * u1, &sine, &cosine);
  *z0 = r * cosine;
  *z1 = r * sine;
#else
  constexpr double two_pi = 6.283185307179586476925286766559;
  const double r = std::sqrt(-2.0 * std::log(static_cast<double>(u0)));
  const double angle = two_pi * static_cast<double>(u1);
  *z0 = static_cast<float>(r * std::cos(angle));
  *z1 = static_cast<float>(r * std::sin(angle));
#endif
}

}  // namespace fd
