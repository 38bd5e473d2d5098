// The pooling kernels of one instruction set. The SIMD files include this header, so it holds no
// inline code.
#pragma once

#include <cstddef>

#include "ops/epilogue.h"

namespace fd {

// One output pixel: the taps of its window that are inside the image.
struct PoolWindow {
  const float* in;  // the first of them
  std::ptrdiff_t row, pixel;
  std::ptrdiff_t rows, columns;  // how many, at least one each
  std::ptrdiff_t channels;
  float* out;
  const Epilogue* epilogue;                       // null: none
  std::ptrdiff_t out_sample, out_row, out_pixel;  // where the pixel stands, for the epilogue
};

struct PoolKernels {
  void (*max)(const PoolWindow& window);
  void (*mean)(const PoolWindow& window);  // over the taps inside
};

extern const PoolKernels kPoolPlain;
extern const PoolKernels kPoolAvx2;    // only on x86-64
extern const PoolKernels kPoolAvx512;  // only on x86-64

}  // namespace fd
