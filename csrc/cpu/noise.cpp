#include "cpu/noise.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/thread_pool.h"
#include "cpu/dispatch.h"

namespace fd {
namespace {

constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 34;  // 2^32 blocks of 4

// Elements per chunk: 64 KiB of output, some 10 us of work on one core, which is well above what
// waking a thread costs. A multiple of 64, so that only the end of a row has a partial vector.
constexpr std::size_t kGrain = 16384;

void check(const NoiseRequest& request, const void* out) {
  if (request.first_element % 4 != 0) {
    fail_argument("first_element", "a multiple of 4", std::to_string(request.first_element));
  }
  if (request.first_element > kMaxElements ||
      request.count > kMaxElements - request.first_element) {
    fail_argument("count", "first_element + count of at most 2^34",
                  std::to_string(request.first_element) + " + " + std::to_string(request.count));
  }
  if (request.n == 0 || request.count == 0) return;
  if (request.n > SIZE_MAX / sizeof(float) / request.count) {
    fail_argument("count", "n * count elements that fit in memory",
                  std::to_string(request.n) + " * " + std::to_string(request.count));
  }
  if (request.seeds == nullptr) fail_argument("seeds", "a pointer to n values", "null");
  if (out == nullptr) fail_argument("out", "a pointer to n * count values", "null");
}

// Long rows are split into pieces, short ones are put together, so that a chunk is about kGrain
// elements whatever the shape.
template <class T>
void fill(const NoiseRequest& request, T* out, int threads,
          void (*kernel)(const NoiseRow&, T* out)) {
  check(request, out);
  if (request.n == 0 || request.count == 0) return;
  const std::size_t count = request.count;
  const std::size_t pieces_per_row = (count - 1) / kGrain + 1;
  const std::size_t pieces = request.n * pieces_per_row;
  const std::size_t pieces_per_chunk = std::max<std::size_t>(1, kGrain / count);
  const std::size_t chunks = (pieces - 1) / pieces_per_chunk + 1;
  parallel_for(chunks, threads, [&](std::size_t chunk) {
    const std::size_t last = std::min(pieces, (chunk + 1) * pieces_per_chunk);
    for (std::size_t piece = chunk * pieces_per_chunk; piece < last; ++piece) {
      const std::size_t row = piece / pieces_per_row;
      const std::size_t begin = piece % pieces_per_row * kGrain;
      const std::uint32_t step = request.steps ? request.steps[row] : request.step;
      const auto block = static_cast<std::uint32_t>((request.first_element + begin) / 4);
      kernel({request.seeds[row], step, request.stream, block, std::min(kGrain, count - begin)},
             out + row * count + begin);
    }
  });
}

const NoiseKernels& chosen(const NoiseKernels* kernels) {
  return kernels ? *kernels : noise_kernels(active_isa());
}

}  // namespace

void noise_words(const NoiseRequest& request, std::uint32_t* out, int threads,
                 const NoiseKernels* kernels) {
  fill(request, out, threads, chosen(kernels).words);
}

void noise_uniform(const NoiseRequest& request, float* out, int threads,
                   const NoiseKernels* kernels) {
  fill(request, out, threads, chosen(kernels).uniform);
}

void noise_normal(const NoiseRequest& request, float* out, int threads,
                  const NoiseKernels* kernels) {
  fill(request, out, threads, chosen(kernels).normal);
}

}  // namespace fd
