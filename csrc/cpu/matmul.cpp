// matmul: blocks of rows by columns through the kernel. Where the columns of b are not adjacent, a
// panel of them is gathered on the stack first, and where those of the output are not, the block is
// spread out from there. Both orders of work give each element the same sums.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/elementwise.h"
#include "cpu/loop_nest.h"
#include "cpu/matmul_kernels.h"

namespace fd {
namespace {

constexpr std::ptrdiff_t kRows = 32, kColumns = 64;  // of a block: what parts share out
constexpr std::ptrdiff_t kInner = 128;               // of a gathered panel, 32 KiB

struct Matrix {
  std::ptrdiff_t row, column;  // strides
};

// One block: rows x columns at a, b and out, which are where it starts.
void block(const MatmulKernels& kernels, std::ptrdiff_t rows, std::ptrdiff_t columns,
           std::ptrdiff_t inner, const float* a, Matrix a_stride, const float* b, Matrix b_stride,
           float* out, Matrix out_stride) {
  alignas(64) float panel[kInner * kColumns], result[kRows * kColumns];
  const bool gather = b_stride.column != 1, spread = out_stride.column != 1;
  MatmulTile tile = {};
  tile.rows = rows;
  tile.columns = columns;
  tile.a_row = a_stride.row;
  tile.a_inner = a_stride.column;
  tile.b_inner = gather ? columns : b_stride.row;
  tile.out = spread ? result : out;
  tile.out_row = spread ? kColumns : out_stride.row;
  std::ptrdiff_t k = 0;
  do {  // once, also where inner is 0
    tile.inner = gather ? std::min(kInner, inner - k) : inner;
    tile.a = a + k * a_stride.column;
    tile.b = b + k * b_stride.row;
    tile.add_to_out = k > 0;
    if (gather) {
      for (std::ptrdiff_t j = 0; j < columns; ++j) {
        for (std::ptrdiff_t i = 0; i < tile.inner; ++i) {
          panel[i * columns + j] = tile.b[i * b_stride.row + j * b_stride.column];
        }
      }
      tile.b = panel;
    }
    kernels.tile(tile);
    k += tile.inner;
  } while (k < inner);
  if (!spread) return;
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (std::ptrdiff_t j = 0; j < columns; ++j) {
      out[i * out_stride.row + j * out_stride.column] = result[i * kColumns + j];
    }
  }
}

}  // namespace

void matmul(int samples, const Extent& extent, std::ptrdiff_t inner, const ConstView& a,
            const ConstView& b, const View& out, Share share, Isa isa) {
  if (extent.rank < 2 || extent.rank > kMaxRank) {
    fail_argument("extent.rank", "2 to " + std::to_string(kMaxRank), std::to_string(extent.rank));
  }
  const MatmulKernels& kernels = FD_KERNELS(isa, kMatmul);
  const int i = extent.rank - 2, j = extent.rank - 1;
  const Matrix a_stride = {a.stride[i], a.stride[j]}, b_stride = {b.stride[i], b.stride[j]},
               out_stride = {out.stride[i], out.stride[j]};
  const std::ptrdiff_t rows = extent.size[i], columns = extent.size[j];
  const std::ptrdiff_t row_blocks = (rows + kRows - 1) / kRows;
  const std::ptrdiff_t column_blocks = (columns + kColumns - 1) / kColumns;
  std::ptrdiff_t total = samples * row_blocks * column_blocks;
  for (int d = 0; d < i; ++d) total *= extent.size[d];

  const Items items = items_of(total, share);
  for (std::ptrdiff_t item = items.begin; item < items.end; ++item) {
    std::ptrdiff_t rest = item;
    const std::ptrdiff_t row = rest % row_blocks * kRows;
    rest /= row_blocks;
    const std::ptrdiff_t column = rest % column_blocks * kColumns;
    rest /= column_blocks;
    std::ptrdiff_t a_at = row * a_stride.row, b_at = column * b_stride.column,
                   out_at = row * out_stride.row + column * out_stride.column;
    for (int d = i - 1; d >= 0; --d) {
      const std::ptrdiff_t index = rest % extent.size[d];
      rest /= extent.size[d];
      a_at += index * a.stride[d];
      b_at += index * b.stride[d];
      out_at += index * out.stride[d];
    }
    block(kernels, std::min(kRows, rows - row), std::min(kColumns, columns - column), inner,
          a.data + rest * a.sample + a_at, a_stride, b.data + rest * b.sample + b_at, b_stride,
          out.data + rest * out.sample + out_at, out_stride);
  }
}

}  // namespace fd
