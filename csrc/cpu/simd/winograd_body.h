// Winograd's F(m x m, 3x3): a tile of m x m outputs from (m + 2)^2 inputs d and a 3x3 kernel g as
//
//   A^T [ (G g G^T) . (B^T d B) ] A
//
// summed over the input channels at each of the (m + 2)^2 points by a GEMM over many tiles: 4 (F2)
// or 2.25 (F4) products an output rather than 9. winograd_points.h has the transforms.
//
//   input   pixels -> v[point][tile][channel]
//   gemm    m[point][tile][panel] = v u
//   output  m -> pixels, bias, epilogue
//
// Channels are the lanes throughout. All sums are float32.
#pragma once

#include "cpu/simd/conv_store.h"
#include "cpu/simd/gemm_accumulate.h"
#include "cpu/simd/winograd_points.h"

namespace fd {
namespace {

template <bool full>
inline F32 load_channels(const float* from, std::size_t lanes) {
  if constexpr (full) {
    static_cast<void>(lanes);
    return load(from);
  } else {
    return load_partial(from, lanes);
  }
}

// B^T d B for the `lanes` channels from c on, a few rows of B^T at a time: as many as leave their
// products with d in registers.
template <class F, class Math, bool full>
__attribute__((always_inline)) inline void transform_input(const float* const* from,
                                                           std::ptrdiff_t c, std::size_t lanes,
                                                           typename Math::Element* v,
                                                           std::ptrdiff_t v_point) {
  constexpr int n = F::kPoints, rows = n / F::kHalves;
#pragma GCC unroll 2
  for (int half = 0; half < F::kHalves; ++half) {
    F32 t[rows][n];
#pragma GCC unroll 6
    for (int j = 0; j < n; ++j) {
      F32 d[n], column[rows];
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) d[i] = load_channels<full>(from[i * n + j] + c, lanes);
      F::input_half(half, d, column);
#pragma GCC unroll 6
      for (int i = 0; i < rows; ++i) t[i][j] = column[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; ++i) {
      F32 row[n];
      F::input(t[i], row);
#pragma GCC unroll 6
      for (int j = 0; j < n; ++j)
        Math::store_input(v + ((half * rows + i) * n + j) * v_point, row[j]);
    }
  }
}

template <class F, class Math>
void input(const WinogradBlock& block) {
  constexpr std::ptrdiff_t lanes = kLanes;
  constexpr int points = F::kPoints * F::kPoints;
  for (int tile = 0; tile < block.tiles; ++tile) {
    const float* const* from = block.from + tile * points;
    auto* v = static_cast<typename Math::Element*>(block.v) + tile * block.v_tile;
    std::ptrdiff_t c = 0;
    for (; c + lanes <= block.channels; c += lanes, v += lanes / Math::kChannels) {
      transform_input<F, Math, true>(from, c, kLanes, v, block.v_point);
    }
    if (c < block.channels) {
      transform_input<F, Math, false>(from, c, static_cast<std::size_t>(block.channels - c), v,
                                      block.v_point);
    }
  }
}

template <class Math, int R, int N>
inline void point_rows(const typename Math::Element* v, std::ptrdiff_t v_tile,
                       const typename Math::Element* u, std::ptrdiff_t depth, float* m) {
  constexpr std::ptrdiff_t lanes = kLanes;
  F32 acc[R][N];
  clear(acc);
  const typename Math::Element* a[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) a[r] = v + r * v_tile;
  accumulate<Math>(acc, a, u, depth);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) store(m + (r * N + n) * lanes, acc[r][n]);
  }
}

// Rows in pieces of R, and of R - 1 for the rest.
template <class F, class Math, int R, int N>
void points(const WinogradBlock& block) {
  using Element = typename Math::Element;
  constexpr std::ptrdiff_t lanes = kLanes;
  const std::ptrdiff_t depth = (block.channels + Math::kChannels - 1) / Math::kChannels;
  const int pieces = (block.tiles + R - 1) / R;
  const int smaller = pieces * R - block.tiles;  // pieces with a row less
  const auto* u = static_cast<const Element*>(block.u);
  for (int point = 0; point < F::kPoints * F::kPoints; ++point, u += depth * N * lanes) {
    const Element* v = static_cast<const Element*>(block.v) + point * block.v_point;
    float* m = block.m + point * block.m_point;
    for (int piece = 0; piece < pieces; ++piece) {
      const int rows = piece < pieces - smaller ? R : R - 1;
      if (rows == R) {
        point_rows<Math, R, N>(v, block.v_tile, u, depth, m);
      } else if constexpr (R > 1) {
        point_rows<Math, R - 1, N>(v, block.v_tile, u, depth, m);
      }
      v += rows * block.v_tile;
      m += rows * N * lanes;
    }
  }
}

template <class F, class Math, int N>
void points(const WinogradBlock& block) {
  switch (piece_rows(block.tiles)) {
    case 1:
      return points<F, Math, 1, N>(block);
    case 2:
      return points<F, Math, 2, N>(block);
    case 3:
      return points<F, Math, 3, N>(block);
    case 4:
      return points<F, Math, 4, N>(block);
    case 5:
      if constexpr (kGemmRows >= 5) return points<F, Math, 5, N>(block);
      break;
    case 6:
      if constexpr (kGemmRows >= 6) return points<F, Math, 6, N>(block);
      break;
    case 7:
      if constexpr (kGemmRows >= 7) return points<F, Math, 7, N>(block);
      break;
    case 8:
      if constexpr (kGemmRows >= 8) return points<F, Math, 8, N>(block);
      break;
  }
}

inline int panel_vectors(const WinogradBlock& block) {
  return block.target.channels > static_cast<int>(kLanes) ? 2 : 1;
}

template <class F, class Math>
void points_of_panel(const WinogradBlock& block) {
  if (panel_vectors(block) == 2) {
    points<F, Math, 2>(block);
  } else {
    points<F, Math, 1>(block);
  }
}

// Keeps the compiler from holding what it has loaded before (it would spill: there are more inputs
// than registers) for what it loads after this.
inline void load_again() { __asm__ volatile("" ::: "memory"); }

// A^T m A, plus the bias. As with the input, in as many parts as keep the products with m in
// registers: of F4, rows 0 and 2 of the outputs, then 1 and 3.
template <class F, class Sink>
inline void transform_output(const float* m, std::ptrdiff_t m_point, F32 bias, const Sink& sink) {
  constexpr int n = F::kPoints, size = F::kTile, rows = size / F::kHalves;
#pragma GCC unroll 2
  for (int half = 0; half < F::kHalves; ++half) {
    if (half > 0) load_again();
    F32 t[rows][n];
#pragma GCC unroll 6
    for (int j = 0; j < n; ++j) {
      F32 column[n], sums[rows];
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) column[i] = load(m + (i * n + j) * m_point);
      F::output_half(half, column, sums);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) t[i][j] = sums[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
      F32 row[size];
      F::output(t[i], row);
#pragma GCC unroll 4
      for (int j = 0; j < size; ++j) sink((i * F::kHalves + half) * size + j, add(row[j], bias));
    }
  }
}

template <class F>
void output(const WinogradBlock& block) {
  constexpr std::ptrdiff_t lanes = kLanes;
  constexpr int size = F::kTile;
  const int vectors = panel_vectors(block);
  for (int tile = 0; tile < block.tiles; ++tile) {
    const WinogradTile& place = block.places[tile];
    const ConvPixel& corner = place.corner;
    OutputPixels pixels(block.target);
    for (int i = 0; i < place.rows; ++i) {
      pixels.add_row(block.target, corner.sample, corner.y + i, corner.x, place.columns);
    }
    for (int n = 0; n < vectors; ++n) {
      const float* m = block.m + (tile * vectors + n) * lanes;
      const F32 bias = load(block.target.bias + n * lanes);
      if (!block.target.epilogue && pixels.count == size * size &&
          lanes_of(block.target, n) == kLanes) {
        transform_output<F>(m, block.m_point, bias, ToPixels{pixels.to, n * lanes});
        continue;
      }
      F32 y[size * size];
      transform_output<F>(m, block.m_point, bias, InPlace{y});
      if (place.columns < size) {  // close the gaps
        for (int i = 1; i < place.rows; ++i) {
          for (int j = 0; j < place.columns; ++j) y[i * place.columns + j] = y[i * size + j];
        }
      }
      store_outputs(block.target, y, pixels, n);
    }
  }
}

template <class F, class Math>
constexpr WinogradSteps steps() {
  return {input<F, Math>, points_of_panel<F, Math>, output<F>};
}

}  // namespace
}  // namespace fd
