// Noise for a batch: row i holds elements first_element ... first_element + count - 1 of the sample
// with seed seeds[i] at its step. The result depends on nothing else: not on the batch, the number
// of threads, or (words and uniforms bit for bit, normals to 2e-6) the instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/noise_kernels.h"

namespace fd {

struct NoiseRequest {
  const std::uint64_t* seeds = nullptr;  // [n]
  std::size_t n = 0;
  const std::uint32_t* steps = nullptr;  // [n], or null: `step` for every row
  std::uint32_t step = 0;
  std::uint32_t stream = 0;
  std::uint64_t first_element = 0;  // a multiple of 4
  std::size_t count = 0;            // any; first_element + count <= 2^34
};

// out is [n, count], row-major. threads: 0 for default_thread_count(). kernels: null for those of
// active_isa(). InvalidArgument where the request is out of range.
void noise_words(const NoiseRequest& request, std::uint32_t* out, int threads = 0,
                 const NoiseKernels* kernels = nullptr);
void noise_uniform(const NoiseRequest& request, float* out, int threads = 0,
                   const NoiseKernels* kernels = nullptr);
void noise_normal(const NoiseRequest& request, float* out, int threads = 0,
                  const NoiseKernels* kernels = nullptr);

// Philox4x32-10 itself: out [m, 4] of counters [m, 4] and keys [m, 2]. For checks; not fast.
void philox_blocks(const std::uint32_t* counters, const std::uint32_t* keys, std::size_t m,
                   std::uint32_t* out);

}  // namespace fd
