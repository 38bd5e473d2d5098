// copy: rows where both sides are dense, blocks of a transposition where each is dense along
// another dimension (NCHW <-> NHWC), single elements otherwise. Plain code: the work is the
// memory's.
#include <cstring>
#include <string>

#include "cpu/elementwise.h"
#include "cpu/loop_nest.h"

namespace fd {
namespace {

constexpr std::ptrdiff_t kPiece = 4096;  // elements of a row that one part takes at a time
// A block of a transposition: few of the lines that are far apart, as those often share a set of
// the first cache (strides that are powers of two), and more of the others.
constexpr std::ptrdiff_t kFar = 8, kNear = 32;

void copy_row(const float* from, std::ptrdiff_t from_stride, float* to, std::ptrdiff_t to_stride,
              std::size_t count) {
  if (from_stride == 1 && to_stride == 1) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::ptrdiff_t>(i);
    to[at * to_stride] = from[at * from_stride];
  }
}

// to[i * to_stride + j] = from[i + j * from_stride] for `rows` i and `columns` j. Few columns are
// the channels of a picture: known when compiled, they need no loop.
template <int columns>
void transpose_narrow(const float* from, std::ptrdiff_t from_stride, float* to,
                      std::ptrdiff_t to_stride, std::ptrdiff_t rows) {
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) to[i * to_stride + j] = from[i + j * from_stride];
  }
}

void transpose(const float* from, std::ptrdiff_t from_stride, float* to, std::ptrdiff_t to_stride,
               std::ptrdiff_t rows, std::ptrdiff_t columns) {
  if (columns == 1) return transpose_narrow<1>(from, from_stride, to, to_stride, rows);
  if (columns == 2) return transpose_narrow<2>(from, from_stride, to, to_stride, rows);
  if (columns == 3) return transpose_narrow<3>(from, from_stride, to, to_stride, rows);
  if (columns == 4) return transpose_narrow<4>(from, from_stride, to, to_stride, rows);
  for (std::ptrdiff_t i = 0; i < rows; ++i) {
    for (std::ptrdiff_t j = 0; j < columns; ++j) to[i * to_stride + j] = from[i + j * from_stride];
  }
}

// The dimension other than the inner one along which the input is dense; -1: there is none.
int dense_input(const LoopNest& nest) {
  for (int i = nest.rank - 2; i >= 0; --i) {
    if (nest.stride[1][i] == 1) return i;
  }
  return -1;
}

// Blocks of a transposition: `rows` along the input's dense dimension, columns along the output's.
void copy_transposed(const LoopNest& nest, int across, const float* from, float* to, Share share) {
  const int inner = nest.rank - 1;
  const std::ptrdiff_t rows = nest.size[across], columns = nest.size[inner];
  const std::ptrdiff_t from_stride = nest.stride[1][inner], to_stride = nest.stride[0][across];
  const bool narrow = columns <= 4;
  const bool far_read = from_stride > to_stride;
  const std::ptrdiff_t block_rows = narrow ? 256 : far_read ? kNear : kFar;
  const std::ptrdiff_t block_columns = narrow ? 4 : far_read ? kFar : kNear;
  const std::ptrdiff_t row_blocks = (rows + block_rows - 1) / block_rows;
  const std::ptrdiff_t column_blocks = (columns + block_columns - 1) / block_columns;
  std::ptrdiff_t total = row_blocks * column_blocks;
  for (int i = 0; i < inner; ++i) total *= i == across ? 1 : nest.size[i];

  const Items items = items_of(total, share);
  for (std::ptrdiff_t item = items.begin; item < items.end; ++item) {
    std::ptrdiff_t rest = item;
    const std::ptrdiff_t column = rest % column_blocks * block_columns;
    rest /= column_blocks;
    const std::ptrdiff_t row = rest % row_blocks * block_rows;
    rest /= row_blocks;
    std::ptrdiff_t from_at = row + column * from_stride, to_at = row * to_stride + column;
    for (int i = inner - 1; i >= 0; --i) {
      if (i == across) continue;
      from_at += rest % nest.size[i] * nest.stride[1][i];
      to_at += rest % nest.size[i] * nest.stride[0][i];
      rest /= nest.size[i];
    }
    transpose(from + from_at, from_stride, to + to_at, to_stride, std::min(block_rows, rows - row),
              std::min(block_columns, columns - column));
  }
}

}  // namespace

void copy(int samples, const Extent& extent, const ConstView& a, const View& out, Share share,
          Isa) {
  const LoopNest nest = loop_nest(samples, extent, extent.rank, out, a);
  const std::ptrdiff_t from_stride = nest.inner_stride(1), to_stride = nest.inner_stride(0);
  const int across = dense_input(nest);
  if (to_stride == 1 && from_stride != 1 && from_stride != 0 && across >= 0) {
    return copy_transposed(nest, across, a.data, out.data, share);
  }
  for_rows(nest, share, kPiece, [&](const Row& row) {
    copy_row(a.data + row.offset[1], from_stride, out.data + row.offset[0], to_stride, row.count);
  });
}

}  // namespace fd
