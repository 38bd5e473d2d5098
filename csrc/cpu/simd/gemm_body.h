// The indirect GEMM of direct convolutions and linear layers: rows are output pixels, and each row
// has a pointer to its input pixel for every tap (to zeros where the tap is outside the image).
// Accumulates in float32, taps in order and channels in order within a tap.
#pragma once

#include "cpu/simd/conv_store.h"
#include "cpu/simd/gemm_accumulate.h"

namespace fd {
namespace {

template <class Math, int R, int N>
void gemm_rows(const GemmBlock& block, int first, F32* y) {
  using Element = typename Math::Element;
  F32 acc[R][N];
  clear(acc);
  const Element* b = static_cast<const Element*>(block.b);
  const std::ptrdiff_t step = block.depth * N * static_cast<std::ptrdiff_t>(kLanes);
  for (int tap = 0; tap < block.taps; ++tap, b += step) {
    const Element* a[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const void* row = block.a[(first + r) * block.taps + tap];
      a[r] = reinterpret_cast<const Element*>(static_cast<const char*>(row) + block.a_offset_bytes);
    }
    accumulate<Math>(acc, a, b, block.depth);
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) y[n * R + r] = acc[r][n];
  }
}

template <class Math, int N>
void gemm_rows(const GemmBlock& block, int first, int rows, F32* y) {
  switch (rows) {
    case 1:
      return gemm_rows<Math, 1, N>(block, first, y);
    case 2:
      return gemm_rows<Math, 2, N>(block, first, y);
    case 3:
      return gemm_rows<Math, 3, N>(block, first, y);
    case 4:
      return gemm_rows<Math, 4, N>(block, first, y);
    case 5:
      if constexpr (kGemmRows >= 5) return gemm_rows<Math, 5, N>(block, first, y);
      break;
    case 6:
      if constexpr (kGemmRows >= 6) return gemm_rows<Math, 6, N>(block, first, y);
      break;
    case 7:
      if constexpr (kGemmRows >= 7) return gemm_rows<Math, 7, N>(block, first, y);
      break;
    case 8:
      if constexpr (kGemmRows >= 8) return gemm_rows<Math, 8, N>(block, first, y);
      break;
  }
}

template <class Math>
void gemm(const GemmBlock& block) {
  const int vectors = block.target.channels > static_cast<int>(kLanes) ? 2 : 1;
  const int piece = piece_rows(block.rows);
  for (int first = 0; first < block.rows; first += piece) {
    const int rows = block.rows - first < piece ? block.rows - first : piece;
    F32 y[kPanelVectors * kGemmRows];
    if (vectors == 2) {
      gemm_rows<Math, 2>(block, first, rows, y);
    } else {
      gemm_rows<Math, 1>(block, first, rows, y);
    }
    OutputPixels pixels(block.target);
    for (int r = 0; r < rows; ++r) {
      const ConvPixel& pixel = block.pixels[first + r];
      pixels.add_row(block.target, pixel.sample, pixel.y, pixel.x, 1);
    }
    for (int n = 0; n < vectors; ++n) {
      const F32 bias = load(block.target.bias + n * static_cast<int>(kLanes));
      for (int r = 0; r < rows; ++r) y[n * rows + r] = add(y[n * rows + r], bias);
      store_outputs(block.target, y + n * rows, pixels, n);
    }
  }
}

}  // namespace
}  // namespace fd
