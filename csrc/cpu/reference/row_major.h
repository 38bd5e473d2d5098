// Elements of a strided tensor in the order of the references' dense outputs.
#pragma once

#include <cstddef>

#include "ops/view.h"

namespace fd {

// The number of elements of one sample.
inline std::ptrdiff_t count_of(const Extent& extent) {
  std::ptrdiff_t count = 1;
  for (int d = 0; d < extent.rank; ++d) count *= extent.size[d];
  return count;
}

// Element k of a sample, counted with the last dimension fastest.
inline float element(const ConstView& view, const Extent& extent, int sample, std::ptrdiff_t k) {
  std::ptrdiff_t at = sample * view.sample;
  for (int d = extent.rank - 1; d >= 0; --d) {
    at += k % extent.size[d] * view.stride[d];
    k /= extent.size[d];
  }
  return view.data[at];
}

}  // namespace fd
