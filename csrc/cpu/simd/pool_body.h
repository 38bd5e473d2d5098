// Windows of a pool (cpu/pool_kernels.h), a vector of channels at a time. Included by pool_*.cpp
// after their vec_*.h; rules as in noise_body.h. Sums are float32, tap by tap: windows are small.
#pragma once

#include "cpu/pool_kernels.h"
#include "cpu/simd/epilogue_body.h"

namespace fd {
namespace {

// The larger, or nan where either is one. max() gives its second operand where the two have no
// order: in one of the two orders that is the nan, whose bits survive an "or" with any others.
inline F32 larger(F32 a, F32 b) { return float_of_bits(or_(bits(max(a, b)), bits(max(b, a)))); }

template <bool is_max>
inline F32 reduce(const PoolWindow& w, std::ptrdiff_t channel, std::size_t lanes) {
  F32 y = is_max ? float_of_bits(set1(0xff800000u)) : zero();
  for (std::ptrdiff_t i = 0; i < w.rows; ++i) {
    const float* from = w.in + i * w.row + channel;
    for (std::ptrdiff_t j = 0; j < w.columns; ++j, from += w.pixel) {
      const F32 x = lanes == kLanes ? load(from) : load_partial(from, lanes);
      y = is_max ? larger(y, x) : add(y, x);
    }
  }
  return is_max ? y : div(y, set1(static_cast<float>(w.rows * w.columns)));
}

template <bool is_max>
void pool_kernel(const PoolWindow& w) {
  const Place at = {w.out_sample, w.out_row, w.out_pixel};
  constexpr auto step = static_cast<std::ptrdiff_t>(kLanes);
  for (std::ptrdiff_t channel = 0; channel < w.channels; channel += step) {
    const std::ptrdiff_t left = w.channels - channel;
    const std::size_t lanes = left < step ? static_cast<std::size_t>(left) : kLanes;
    F32 y = reduce<is_max>(w, channel, lanes);
    if (w.epilogue != nullptr) apply_epilogue(*w.epilogue, &y, &at, 1, channel, lanes);
    if (lanes == kLanes) {
      store(w.out + channel, y);
    } else {
      store_partial(w.out + channel, y, lanes);
    }
  }
}

constexpr PoolKernels kKernels = {pool_kernel<true>, pool_kernel<false>};

}  // namespace
}  // namespace fd
