// Words, uniforms or normals of core/philox.h for [n, count] elements.
//
// One thread makes the four elements of a block: 10 Philox rounds (20 32x32->64 multiplications),
// and for normals two logarithms, two square roots and two sincospi in float32. Nothing is read but
// a seed and a step per row; 4 bytes per element are written, in one 16-byte store per thread where
// every row starts on a 16-byte border. Not yet measured on a GPU.

#include <cuda_runtime_api.h>

#include "core/philox.h"
#include "cuda/device.h"
#include "cuda/noise.h"

namespace fd {
namespace {

constexpr unsigned kThreadsPerBlock = 256;
constexpr unsigned kMaxGridX = 1u << 16;  // grid-stride beyond: 64 Mi elements of a row at a time
constexpr unsigned kMaxGridY = 65535;     // CUDA's limit

struct Fill {
  const std::uint64_t* seeds;
  const std::uint32_t* steps;
  std::uint32_t step, stream, first_block;
  std::size_t n, count;
};

__device__ std::uint32_t bits_of(float x) { return __float_as_uint(x); }

// The four elements of a block, as bits.
template <NoiseKind kind>
__device__ uint4 elements_of(const PhiloxBlock& block) {
  const std::uint32_t* w = block.word;
  if constexpr (kind == NoiseKind::words) {
    return make_uint4(w[0], w[1], w[2], w[3]);
  } else {
    float u[4];
    for (int i = 0; i < 4; ++i) u[i] = uniform_of_word(w[i]);
    if constexpr (kind == NoiseKind::normal) {
      float z[4];
      box_muller(u[0], u[1], &z[0], &z[1]);
      box_muller(u[2], u[3], &z[2], &z[3]);
      return make_uint4(bits_of(z[0]), bits_of(z[1]), bits_of(z[2]), bits_of(z[3]));
    }
    return make_uint4(bits_of(u[0]), bits_of(u[1]), bits_of(u[2]), bits_of(u[3]));
  }
}

template <NoiseKind kind, bool vector_stores>
__global__ void __launch_bounds__(kThreadsPerBlock) fill(Fill f, std::uint32_t* out) {
  const std::size_t blocks = (f.count + 3) / 4;
  const std::size_t first = std::size_t{blockIdx.x} * kThreadsPerBlock + threadIdx.x;
  const std::size_t stride = std::size_t{gridDim.x} * kThreadsPerBlock;
  for (std::size_t row = blockIdx.y; row < f.n; row += gridDim.y) {
    const std::uint64_t seed = f.seeds[row];
    const std::uint32_t step = f.steps ? f.steps[row] : f.step;
    std::uint32_t* to = out + row * f.count;
    for (std::size_t block = first; block < blocks; block += stride) {
      const uint4 e = elements_of<kind>(
          noise_block(seed, step, f.stream, f.first_block + static_cast<std::uint32_t>(block)));
      if constexpr (vector_stores) {
        reinterpret_cast<uint4*>(to)[block] = e;
      } else {
        const std::uint32_t values[4] = {e.x, e.y, e.z, e.w};
        for (int i = 0; i < 4; ++i) {
          if (4 * block + i < f.count) to[4 * block + i] = values[i];
        }
      }
    }
  }
}

template <NoiseKind kind>
void launch(const Fill& f, std::uint32_t* out, cudaStream_t stream) {
  const std::size_t blocks = (f.count + 3) / 4;
  const std::size_t wanted_x = (blocks + kThreadsPerBlock - 1) / kThreadsPerBlock;
  const dim3 grid(wanted_x < kMaxGridX ? static_cast<unsigned>(wanted_x) : kMaxGridX,
                  f.n < kMaxGridY ? static_cast<unsigned>(f.n) : kMaxGridY);
  if (f.count % 4 == 0 && reinterpret_cast<std::uintptr_t>(out) % sizeof(uint4) == 0) {
    fill<kind, true><<<grid, kThreadsPerBlock, 0, stream>>>(f, out);
  } else {
    fill<kind, false><<<grid, kThreadsPerBlock, 0, stream>>>(f, out);
  }
}

}  // namespace

std::string cuda_noise(NoiseKind kind, const CudaNoiseRequest& request, void* out,
                       std::uintptr_t cuda_stream) {
  constexpr std::uint64_t max_elements = std::uint64_t{1} << 34;
  if (request.first_element % 4 != 0 || request.first_element > max_elements ||
      request.count > max_elements - request.first_element) {
    return "first_element: expected a multiple of 4 with first_element + count of at most 2^34, "
           "got " +
           std::to_string(request.first_element) + " + " + std::to_string(request.count);
  }
  if (request.n == 0 || request.count == 0) return "";
  if (request.seeds == nullptr || out == nullptr) return "seeds, out: expected pointers, got null";
  const Fill f = {request.seeds,
                  request.steps,
                  request.step,
                  request.stream,
                  static_cast<std::uint32_t>(request.first_element / 4),
                  request.n,
                  request.count};
  auto* words = static_cast<std::uint32_t*>(out);
  auto* stream = reinterpret_cast<cudaStream_t>(cuda_stream);
  switch (kind) {
    case NoiseKind::words:
      launch<NoiseKind::words>(f, words, stream);
      break;
    case NoiseKind::uniform:
      launch<NoiseKind::uniform>(f, words, stream);
      break;
    case NoiseKind::normal:
      launch<NoiseKind::normal>(f, words, stream);
      break;
  }
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return "";
  const std::string reason = cuda_unusable_reason();  // says more, where CUDA can't run at all
  return reason.empty() ? std::string("launching noise: ") + cudaGetErrorString(error) : reason;
}

}  // namespace fd
