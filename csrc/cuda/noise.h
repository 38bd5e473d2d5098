// Noise on a CUDA device: the same words and uniforms as the CPU, bit for bit, and normals to 2e-6.
// no_cuda/noise.cpp stands in for noise.cu in builds without CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fd {

enum class NoiseKind { words, uniform, normal };

struct CudaNoiseRequest {
  const std::uint64_t* seeds = nullptr;  // device pointer, [n]
  std::size_t n = 0;
  const std::uint32_t* steps = nullptr;  // device pointer, [n], or null: `step` for every row
  std::uint32_t step = 0;
  std::uint32_t stream = 0;         // the noise stream
  std::uint64_t first_element = 0;  // a multiple of 4
  std::size_t count = 0;            // first_element + count <= 2^34
};

// Puts the fill of out (device pointer, [n, count], uint32 for words and float32 otherwise) on a
// CUDA stream (0: the default one) of the current device and returns at once. Empty text where that
// worked, otherwise the reason. Does not allocate or synchronise, so it can be captured in a graph.
std::string cuda_noise(NoiseKind kind, const CudaNoiseRequest& request, void* out,
                       std::uintptr_t cuda_stream);

}  // namespace fd
