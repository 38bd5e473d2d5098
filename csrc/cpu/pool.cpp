// pool: output pixels one by one, each as the window of input pixels that it covers. What lies
// outside the image counts as -inf, so only the taps inside are looked at.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/elementwise.h"
#include "cpu/loop_nest.h"
#include "cpu/pool_kernels.h"

namespace fd {
namespace {

struct Taps {
  std::ptrdiff_t first, count;
};

// The taps of output position `at` that are inside the image.
Taps taps_of(std::ptrdiff_t at, int kernel, int stride, int padding, int size) {
  const std::ptrdiff_t start = at * stride - padding;
  const std::ptrdiff_t first = std::max<std::ptrdiff_t>(start, 0);
  return {first, std::min<std::ptrdiff_t>(start + kernel, size) - first};
}

void check_side(const char* side, int kernel, int stride, int padding, int size, int out_size) {
  const std::string name = std::string("pool ") + side;
  if (kernel < 1 || stride < 1) {
    fail_argument(name, "a kernel and a stride of at least 1",
                  std::to_string(kernel) + " and " + std::to_string(stride));
  }
  if (out_size > 0 &&
      (padding < 0 || padding >= kernel || (out_size - 1) * stride - padding >= size)) {
    fail_argument(name, "windows that each meet the image",
                  "kernel " + std::to_string(kernel) + ", stride " + std::to_string(stride) +
                      ", padding " + std::to_string(padding) + ", size " + std::to_string(size) +
                      " to " + std::to_string(out_size));
  }
}

}  // namespace

void pool(const PoolCall& call, Isa isa) {
  check_side("height", call.kernel_y, call.stride_y, call.padding_y, call.height, call.out_height);
  check_side("width", call.kernel_x, call.stride_x, call.padding_x, call.width, call.out_width);
  if (call.kind == PoolKind::mean &&
      (call.padding_y != 0 || call.padding_x != 0 ||
       (call.out_height - 1) * call.stride_y + call.kernel_y > call.height ||
       (call.out_width - 1) * call.stride_x + call.kernel_x > call.width)) {
    fail_argument("padding", "none where the mean is taken, and windows inside the image",
                  std::to_string(call.padding_y) + " and " + std::to_string(call.padding_x));
  }
  const PoolKernels& kernels = FD_KERNELS(isa, kPool);
  const auto kernel = call.kind == PoolKind::max ? kernels.max : kernels.mean;
  const std::ptrdiff_t rows = call.out_height, columns = call.out_width;
  const Items items = items_of(call.samples * rows * columns, call.share);
  for (std::ptrdiff_t item = items.begin; item < items.end; ++item) {
    const std::ptrdiff_t s = item / (rows * columns), y = item / columns % rows, x = item % columns;
    const Taps in_y = taps_of(y, call.kernel_y, call.stride_y, call.padding_y, call.height);
    const Taps in_x = taps_of(x, call.kernel_x, call.stride_x, call.padding_x, call.width);
    PoolWindow window = {};
    window.in =
        call.in.data + s * call.in.sample + in_y.first * call.in.row + in_x.first * call.in.pixel;
    window.row = call.in.row;
    window.pixel = call.in.pixel;
    window.rows = in_y.count;
    window.columns = in_x.count;
    window.channels = call.channels;
    window.out = call.out.data + s * call.out.sample + y * call.out.row + x * call.out.pixel;
    window.epilogue = call.epilogue;
    window.out_sample = s;
    window.out_row = y;
    window.out_pixel = x;
    kernel(window);
  }
}

}  // namespace fd
