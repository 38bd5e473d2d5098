// A product of small matrices (cpu/matmul_kernels.h): four rows by two vectors of columns are held
// in registers over all of the inner dimension. Every element is one chain of fma over k, whatever
// the tile. Included by matmul_*.cpp after their vec_*.h; rules as in noise_body.h.
#pragma once

#include "cpu/matmul_kernels.h"

namespace fd {
namespace {

// Vector v of the `lanes` <= 2 kLanes columns at `from`.
inline F32 load_columns(const float* from, std::size_t v, std::size_t lanes) {
  if (lanes >= (v + 1) * kLanes) return load(from + v * kLanes);
  return lanes > v * kLanes ? load_partial(from + v * kLanes, lanes - v * kLanes) : zero();
}

inline void store_columns(float* to, F32 y, std::size_t v, std::size_t lanes) {
  if (lanes >= (v + 1) * kLanes) {
    store(to + v * kLanes, y);
  } else if (lanes > v * kLanes) {
    store_partial(to + v * kLanes, y, lanes - v * kLanes);
  }
}

template <int rows>
inline void matmul_rows(const MatmulTile& t, std::ptrdiff_t row, std::ptrdiff_t column,
                        std::size_t lanes) {
  F32 y[rows][2];
  const float* a[rows];
  for (int i = 0; i < rows; ++i) {
    a[i] = t.a + (row + i) * t.a_row;
    const float* before = t.out + (row + i) * t.out_row + column;
    for (std::size_t v = 0; v < 2; ++v) {
      y[i][v] = t.add_to_out ? load_columns(before, v, lanes) : zero();
    }
  }
  const float* b = t.b + column;
  for (std::ptrdiff_t k = 0; k < t.inner; ++k, b += t.b_inner) {
    const F32 b0 = load_columns(b, 0, lanes), b1 = load_columns(b, 1, lanes);
    for (int i = 0; i < rows; ++i) {
      const F32 factor = set1(a[i][k * t.a_inner]);
      y[i][0] = fma(factor, b0, y[i][0]);
      y[i][1] = fma(factor, b1, y[i][1]);
    }
  }
  for (int i = 0; i < rows; ++i) {
    for (std::size_t v = 0; v < 2; ++v) {
      store_columns(t.out + (row + i) * t.out_row + column, y[i][v], v, lanes);
    }
  }
}

void matmul_tile(const MatmulTile& t) {
  constexpr auto step = static_cast<std::ptrdiff_t>(2 * kLanes);
  for (std::ptrdiff_t column = 0; column < t.columns; column += step) {
    const std::ptrdiff_t left = t.columns - column;
    const auto lanes = static_cast<std::size_t>(left < step ? left : step);
    std::ptrdiff_t row = 0;
    for (; row + 4 <= t.rows; row += 4) matmul_rows<4>(t, row, column, lanes);
    for (; row < t.rows; ++row) matmul_rows<1>(t, row, column, lanes);
  }
}

constexpr MatmulKernels kKernels = {matmul_tile};

}  // namespace
}  // namespace fd
