// Tensors of any rank as elementwise kernels see them: element (s, i0, i1, ...) is
// data[s * sample + i0 * stride[0] + ...]; strides in elements, 0 where broadcast. Plain data, no
// inline code.
#pragma once

#include <cstddef>

namespace fd {

constexpr int kMaxRank = 8;  // beside the sample

struct Extent {
  int rank = 0;
  std::ptrdiff_t size[kMaxRank] = {};
};

struct ConstView {
  const float* data = nullptr;
  std::ptrdiff_t sample = 0;
  std::ptrdiff_t stride[kMaxRank] = {};
};

struct View {
  float* data = nullptr;
  std::ptrdiff_t sample = 0;
  std::ptrdiff_t stride[kMaxRank] = {};
};

}  // namespace fd
