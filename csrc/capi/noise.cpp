#include "cpu/noise.h"

#include "capi/guard.h"

namespace {

fd::NoiseRequest request_of(const uint64_t* seeds, size_t n, uint32_t step, uint32_t stream,
                            size_t count) {
  fd::NoiseRequest request;
  request.seeds = seeds;
  request.n = n;
  request.step = step;
  request.stream = stream;
  request.count = count;
  return request;
}

}  // namespace

fd_status fd_words(const uint64_t* seeds, size_t n, uint32_t step, uint32_t stream, size_t count,
                   uint32_t* out, int n_threads) {
  return fd::guarded(
      [&] { fd::noise_words(request_of(seeds, n, step, stream, count), out, n_threads); });
}

fd_status fd_uniform(const uint64_t* seeds, size_t n, uint32_t step, uint32_t stream, size_t count,
                     float* out, int n_threads) {
  return fd::guarded(
      [&] { fd::noise_uniform(request_of(seeds, n, step, stream, count), out, n_threads); });
}

fd_status fd_normal(const uint64_t* seeds, size_t n, uint32_t step, uint32_t stream, size_t count,
                    float* out, int n_threads) {
  return fd::guarded(
      [&] { fd::noise_normal(request_of(seeds, n, step, stream, count), out, n_threads); });
}
