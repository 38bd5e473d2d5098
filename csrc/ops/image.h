// Images as kernels see them: samples of height x width pixels whose channels are adjacent. Element
// (s, y, x, c) is data[s * sample + y * row + x * pixel + c]; strides in elements. pixel is more
// than the number of channels where the image is a part of a concatenation. Also rows of a matrix:
// height 1, one pixel a row. Plain data, no inline code.
#pragma once

#include <cstddef>

namespace fd {

struct ConstImage {
  const float* data = nullptr;
  std::ptrdiff_t sample = 0, row = 0, pixel = 0;
};

struct Image {
  float* data = nullptr;
  std::ptrdiff_t sample = 0, row = 0, pixel = 0;
};

// Which part of an op's work a call does: `part` of `parts`, 0 <= part < parts. Every part is
// called once, in any order or at the same time on other threads; together they write the whole
// output, each element by one of them, to the same bits whatever `parts` is.
struct Share {
  int part = 0, parts = 1;
};

}  // namespace fd
