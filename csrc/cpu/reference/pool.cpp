#include "cpu/reference/pool.h"

#include <cmath>

#include "cpu/reference/elementwise.h"
#include "cpu/reference/row_major.h"

namespace fd {
namespace {

double window(const PoolCall& call, int s, int y, int x, int c) {
  double result = call.kind == PoolKind::max ? -HUGE_VAL : 0;
  for (int ky = 0; ky < call.kernel_y; ++ky) {
    for (int kx = 0; kx < call.kernel_x; ++kx) {
      const int iy = y * call.stride_y - call.padding_y + ky;
      const int ix = x * call.stride_x - call.padding_x + kx;
      if (iy < 0 || iy >= call.height || ix < 0 || ix >= call.width) continue;
      const ConstImage& in = call.in;
      const double value{in.data[s * in.sample + iy * in.row + ix * in.pixel + c]};
      if (call.kind == PoolKind::mean) {
        result += value / (call.kernel_y * call.kernel_x);
      } else if (std::isnan(value) || value > result) {
        result = value;  // and nothing is larger than nan
      }
    }
  }
  return result;
}

}  // namespace

std::vector<double> pool_reference(const PoolCall& call) {
  std::vector<double> out;
  for (int s = 0; s < call.samples; ++s) {
    for (int y = 0; y < call.out_height; ++y) {
      for (int x = 0; x < call.out_width; ++x) {
        for (int c = 0; c < call.channels; ++c) {
          const double value = window(call, s, y, x, c);
          out.push_back(call.epilogue ? epilogue_reference(*call.epilogue, value, s, y, x, c)
                                      : value);
        }
      }
    }
  }
  return out;
}

std::vector<double> mean_reference(int samples, const Extent& extent, int reduced,
                                   const ConstView& a) {
  Extent outside = extent, inside;
  outside.rank -= reduced;
  inside.rank = reduced;
  for (int d = 0; d < reduced; ++d) inside.size[d] = extent.size[outside.rank + d];
  const std::ptrdiff_t count = count_of(inside);
  std::vector<double> out;
  for (int s = 0; s < samples; ++s) {
    for (std::ptrdiff_t i = 0; i < count_of(outside); ++i) {
      double sum = 0;
      for (std::ptrdiff_t j = 0; j < count; ++j) {
        sum += double{element(a, extent, s, i * count + j)};
      }
      out.push_back(sum / static_cast<double>(count));
    }
  }
  return out;
}

}  // namespace fd
