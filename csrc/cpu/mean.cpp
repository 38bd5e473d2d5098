// mean: sums in float64, so that the mean is the exact one rounded (to 2^-53 of what is summed). A
// global pool of an NHWC image adds vectors of channels; a mean along adjacent elements keeps eight
// sums, which are added in a fixed order.
#include <string>

#include "cpu/elementwise.h"
#include "cpu/loop_nest.h"

namespace fd {
namespace {

constexpr std::ptrdiff_t kColumns = 64;  // means that are summed side by side

double sum_row(const float* from, std::ptrdiff_t stride, std::ptrdiff_t count) {
  double sums[8] = {};
  std::ptrdiff_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (std::ptrdiff_t k = 0; k < 8; ++k) sums[k] += double{from[(i + k) * stride]};
  }
  for (; i < count; ++i) sums[0] += double{from[i * stride]};
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// Adds what the dimensions from `dimension` on hold to sums[0 ... count): one output a sum, the
// outputs `stride` apart in the input.
void add_up(const Extent& extent, int dimension, const std::ptrdiff_t* strides, const float* from,
            std::ptrdiff_t stride, std::ptrdiff_t count, double* sums) {
  if (dimension == extent.rank) {
    for (std::ptrdiff_t i = 0; i < count; ++i) sums[i] += double{from[i * stride]};
    return;
  }
  if (dimension + 1 == extent.rank && (strides[dimension] == 1 || count == 1)) {
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      sums[i] += sum_row(from + i * stride, strides[dimension], extent.size[dimension]);
    }
    return;
  }
  for (std::ptrdiff_t i = 0; i < extent.size[dimension]; ++i) {
    add_up(extent, dimension + 1, strides, from + i * strides[dimension], stride, count, sums);
  }
}

}  // namespace

void mean(int samples, const Extent& extent, int reduced, const ConstView& a, const View& out,
          Share share, Isa) {
  if (reduced < 0 || reduced > extent.rank) {
    fail_argument("reduced", "0 to the rank, " + std::to_string(extent.rank),
                  std::to_string(reduced));
  }
  const int kept = extent.rank - reduced;
  double elements = 1;
  for (int i = kept; i < extent.rank; ++i) elements *= static_cast<double>(extent.size[i]);
  const LoopNest nest = loop_nest(samples, extent, kept, out, a);
  for_rows(nest, share, kColumns, [&](const Row& row) {
    double sums[kColumns] = {};
    add_up(extent, kept, a.stride, a.data + row.offset[1], nest.inner_stride(1),
           static_cast<std::ptrdiff_t>(row.count), sums);
    for (std::size_t i = 0; i < row.count; ++i) {
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(i) * nest.inner_stride(0);
      out.data[row.offset[0] + at] = static_cast<float>(sums[i] / elements);
    }
  });
}

}  // namespace fd
