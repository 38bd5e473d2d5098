// A convolution's shape, transposed or not. Plain data, no inline code.
#pragma once

#include "ops/elementwise_kinds.h"

namespace fd {

struct ConvShape {
  int in_channels = 0, out_channels = 0, groups = 1;
  int kernel_y = 1, kernel_x = 1;
  int stride_y = 1, stride_x = 1;
  int padding_y = 0, padding_x = 0;
  int more_y = 0,
      more_x = 0;  // of a plain one, at the bottom and the right beyond padding_y and _x
  int dilation_y = 1, dilation_x = 1;
  bool transposed = false;  // then out_height follows from output_padding as torch defines it
  int height = 1, width = 1;
  int out_height = 1, out_width = 1;  // before the pool
  // Windows side by side that a plain convolution's outputs, epilogue and all, are pooled by, such
  // that only what the pool makes is written; 1x1: no pool.
  PoolKind pool = PoolKind::max;
  int pool_y = 1, pool_x = 1;
};

}  // namespace fd
