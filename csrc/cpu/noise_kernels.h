// The noise kernels of one instruction set, as plain function pointers. The SIMD files include this
// header, so it holds no inline code.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fd {

// Elements 4 * first_block ... 4 * first_block + count - 1 of one sample.
struct NoiseRow {
  std::uint64_t seed;
  std::uint32_t step;
  std::uint32_t stream;
  std::uint32_t first_block;
  std::size_t count;
};

struct NoiseKernels {
  void (*words)(const NoiseRow& row, std::uint32_t* out);
  void (*uniform)(const NoiseRow& row, float* out);
  void (*normal)(const NoiseRow& row, float* out);
  // Box-Muller alone, on 4 * blocks given words: lets tests reach words that no short run of
  // Philox meets.
  void (*normals_of_words)(const std::uint32_t* words, std::size_t blocks, float* out);
};

extern const NoiseKernels kNoiseScalar;
extern const NoiseKernels kNoiseAvx2;    // only on x86-64
extern const NoiseKernels kNoiseAvx512;  // only on x86-64

}  // namespace fd
