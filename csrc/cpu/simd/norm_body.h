// Group norm and layer norm over vectors of adjacent channels (cpu/norm.h), written once over the
// names of vec_*.h; rules as in noise_body.h.
//
//   c = sum x / n, rounded;  d = x - c;  m = sum d / n;  v = sum d^2 / n - m^2      for each group
//   y = d * a + b,  a = gamma / sqrt(v + eps),  b = beta - m * a
//
// m is what the rounding of the first pass left of the mean (Chan, Golub and LeVeque, "Algorithms
// for computing the sample variance", 1983: the corrected two-pass algorithm).
//
// A group norm's sums are taken channel by channel, one channel a lane, in chains of at most 32
// pixels in float32; chunks, channels and all that is done once a group are in float64. A channel's
// sum thus depends neither on its lane nor on the channels beside it, and shares of a group norm
// may cut anywhere between groups.
//
// Accuracy against float64, relative to what is added, (1 + |d| / sqrt(v)) |gamma| + |beta|:
// largest 1.5e-7, rms 2.9e-8, from 1 to 65536 elements a group, also where the mean is 1000
// deviations.
//
// A group norm reads its input three times and writes it once: 256 KiB for [1, 64, 16, 16] in 8
// groups, all of it in the second cache. Zen 4, one core at 3.7 GHz: AVX-512 4.0 us (two passes of
// a load a cycle, and one of a load and a store), AVX2 5.4, plain 9.8; 256 pixels over their own 64
// channels 8.5, 11.3 and 22.9 us.
#pragma once

#include "cpu/norm_kernels.h"
#include "cpu/simd/epilogue_body.h"
#include "cpu/simd/partial_lanes.h"

namespace fd {
namespace {

constexpr std::ptrdiff_t kLanesSigned = static_cast<std::ptrdiff_t>(kLanes);
constexpr std::ptrdiff_t kChunk = 64;  // what is summed in float32: pixels, or vectors of a row
constexpr int kColumns = kLanes == 16 ? 4 : 2;  // vectors side by side, as registers allow
constexpr int kTile = 8;                        // pixels normalised at a time
constexpr int kRows = 4;                        // the same where each has its own statistics

inline F32 load_some(const float* from, std::size_t lanes) {
  return lanes == kLanes ? load(from) : load_partial(from, lanes);
}

template <bool partial>
inline F32 load_lanes(const float* from, std::size_t lanes) {
  return partial ? load_partial(from, lanes) : load(from);
}

// Running sums of x, or of d = x - centre and d^2, in `chains` that do not wait for one another.
template <bool deviations, int chains>
struct Sums {
  F32 sum[chains], squares[chains];

  Sums() {
    for (int i = 0; i < chains; ++i) sum[i] = squares[i] = zero();
  }
  void take(int chain, F32 x, F32 centre) {
    const F32 d = deviations ? sub(x, centre) : x;
    sum[chain] = add(sum[chain], d);
    if (deviations) squares[chain] = fma(d, d, squares[chain]);
  }
  static F32 joined(const F32* of) {
    return chains == 2 ? add(of[0], of[1])
                       : add(add(of[0], of[1]), add(of[chains - 2], of[chains - 1]));
  }
};

inline void add_lanes(F32 a, std::size_t lanes, double* to) {
  alignas(64) float each[kLanes];
  store(each, a);
  for (std::size_t i = 0; i < lanes; ++i) to[i] += static_cast<double>(each[i]);
}

// Adds `count` <= kChunk pixels of `columns` vectors of channels to the float64 sums of those
// channels. The last pixels go to the first chains.
template <bool deviations, int columns, bool partial>
void add_chunk(const float* x, std::ptrdiff_t pixel, std::ptrdiff_t count, std::size_t lanes,
               const F32* centre, double* sums, double* squares) {
  constexpr int chains = deviations ? 2 : 4;
  Sums<deviations, chains> of[columns];
  std::ptrdiff_t p = 0;
  for (; p + chains <= count; p += chains) {
    for (int i = 0; i < chains; ++i, x += pixel) {
      for (int v = 0; v < columns; ++v) {
        of[v].take(i, load_lanes<partial>(x + v * kLanesSigned, lanes), centre[v]);
      }
    }
  }
  for (int i = 0; i < chains - 1; ++i, x += pixel) {
    if (p + i >= count) break;
    for (int v = 0; v < columns; ++v) {
      of[v].take(i, load_lanes<partial>(x + v * kLanesSigned, lanes), centre[v]);
    }
  }
  for (int v = 0; v < columns; ++v) {
    const std::ptrdiff_t at = v * kLanesSigned;
    add_lanes(of[v].joined(of[v].sum), partial ? lanes : kLanes, sums + at);
    if (deviations) add_lanes(of[v].joined(of[v].squares), partial ? lanes : kLanes, squares + at);
  }
}

template <bool deviations, int columns, bool partial>
void sum_columns(const NormCall& call, int sample, int first, std::size_t lanes,
                 const float* centre, double* sums, double* squares) {
  F32 about[columns];
  for (int v = 0; v < columns; ++v) {
    about[v] = deviations ? load_lanes<partial>(centre + first + v * kLanesSigned, lanes) : zero();
  }
  const std::size_t channels = partial ? lanes : columns * kLanes;
  for (std::size_t i = 0; i < channels; ++i) sums[i] = 0;
  for (std::size_t i = 0; i < channels && deviations; ++i) squares[i] = 0;
  // Dense rows are one long row.
  const bool dense = call.in.row == call.width * call.in.pixel;
  const std::ptrdiff_t rows = dense ? 1 : call.height;
  const std::ptrdiff_t width = dense ? std::ptrdiff_t{call.height} * call.width : call.width;
  const float* row = call.in.data + sample * call.in.sample + first;
  for (std::ptrdiff_t y = 0; y < rows; ++y) {
    const float* x = row + y * call.in.row;
    for (std::ptrdiff_t i = 0; i < width; i += kChunk) {
      const std::ptrdiff_t count = width - i < kChunk ? width - i : kChunk;
      add_chunk<deviations, columns, partial>(x + i * call.in.pixel, call.in.pixel, count, lanes,
                                              about, sums, squares);
    }
  }
}

template <bool deviations>
void sum_channels(const NormCall& call, int sample, int first, int count, const float* centre,
                  double* sums, double* squares) {
  constexpr int lanes = static_cast<int>(kLanes);
  int c = 0;
  for (; c + kColumns * lanes <= count; c += kColumns * lanes) {
    sum_columns<deviations, kColumns, false>(call, sample, first + c, kLanes, centre, sums + c,
                                             squares + c);
  }
  for (; c + lanes <= count; c += lanes) {
    sum_columns<deviations, 1, false>(call, sample, first + c, kLanes, centre, sums + c,
                                      squares + c);
  }
  if (c < count) {
    sum_columns<deviations, 1, true>(call, sample, first + c, static_cast<std::size_t>(count - c),
                                     centre, sums + c, squares + c);
  }
}

void sums(const NormCall& call, int sample, int first, int count, double* out) {
  sum_channels<false>(call, sample, first, count, nullptr, out, out);
}

void deviations(const NormCall& call, int sample, int first, int count, const float* centre,
                double* sums_out, double* squares_out) {
  sum_channels<true>(call, sample, first, count, centre, sums_out, squares_out);
}

// Where `count` pixels in row-major order stand: for operands, in the input and in the output.
template <int count>
struct Tile {
  Place at[count];
  const float* in[count];
  float* out[count];

  Tile(const NormCall& call, int sample, std::ptrdiff_t pixel) {
    std::ptrdiff_t y = pixel / call.width, x = pixel % call.width;
    for (int i = 0; i < count; ++i) {
      at[i] = {sample, y, x};
      in[i] = call.in.data + sample * call.in.sample + y * call.in.row + x * call.in.pixel;
      out[i] = call.out.data + sample * call.out.sample + y * call.out.row + x * call.out.pixel;
      if (++x == call.width) {
        x = 0;
        ++y;
      }
    }
  }
};

// What follows d * a + b, and the store.
template <int count>
inline void finish(const NormCall& call, const Tile<count>& tile, std::ptrdiff_t channel,
                   std::size_t lanes, bool per_element, F32* y) {
  if (per_element) {
    for (int i = 0; i < count; ++i) {
      if (call.gamma.data) y[i] = mul(y[i], load_operand(call.gamma, tile.at[i], channel, lanes));
      if (call.beta.data) y[i] = add(y[i], load_operand(call.beta, tile.at[i], channel, lanes));
    }
  }
  if (call.epilogue) apply_epilogue(*call.epilogue, y, tile.at, count, channel, lanes);
  for (int i = 0; i < count; ++i) {
    if (lanes == kLanes) {
      store(tile.out[i] + channel, y[i]);
    } else {
      store_partial(tile.out[i] + channel, y[i], lanes);
    }
  }
}

template <int count>
void apply_tile(const NormCall& call, const Tile<count>& tile, std::ptrdiff_t first,
                std::ptrdiff_t last, const ChannelNorm& norm, bool per_element) {
  for (std::ptrdiff_t c = first; c < last; c += kLanesSigned) {
    const std::size_t lanes = last - c < kLanesSigned ? static_cast<std::size_t>(last - c) : kLanes;
    const F32 centre = load_some(norm.centre + c, lanes);
    const F32 a = load_some(norm.scale + c, lanes), b = load_some(norm.shift + c, lanes);
    F32 y[count];
    for (int i = 0; i < count; ++i) {
      y[i] = fma(sub(load_some(tile.in[i] + c, lanes), centre), a, b);
    }
    finish<count>(call, tile, c, lanes, per_element, y);
  }
}

void apply(const NormCall& call, int sample, int first, int count, const ChannelNorm& norm,
           bool per_element) {
  const std::ptrdiff_t pixels = std::ptrdiff_t{call.height} * call.width;
  std::ptrdiff_t p = 0;
  for (; p + kTile <= pixels; p += kTile) {
    apply_tile<kTile>(call, Tile<kTile>(call, sample, p), first, first + count, norm, per_element);
  }
  for (; p < pixels; ++p) {
    apply_tile<1>(call, Tile<1>(call, sample, p), first, first + count, norm, per_element);
  }
}

struct RowSums {
  double sum, squares;
};

// Those of a row's n channels, in chunks as above.
template <bool deviations>
inline RowSums sum_row(const float* x, std::ptrdiff_t n, F32 centre) {
  RowSums total = {0, 0};
  const auto count = [&](F32 sum, F32 squares) {
    total.sum += static_cast<double>(sum_lanes(sum));
    if (deviations) total.squares += static_cast<double>(sum_lanes(squares));
  };
  while (n >= kLanesSigned) {
    const std::ptrdiff_t vectors = n / kLanesSigned < kChunk ? n / kLanesSigned : kChunk;
    Sums<deviations, 4> of;
    std::ptrdiff_t v = 0;
    for (; v + 4 <= vectors; v += 4) {
      for (int i = 0; i < 4; ++i, x += kLanes) of.take(i, load(x), centre);
    }
    for (; v < vectors; ++v, x += kLanes) of.take(0, load(x), centre);
    count(of.joined(of.sum), of.joined(of.squares));
    n -= vectors * kLanesSigned;
  }
  if (n > 0) {
    // Lanes without a channel hold the centre (0 in the first pass), so that they add nothing.
    const std::size_t lanes = static_cast<std::size_t>(n);
    Sums<deviations, 2> of;
    of.take(0, first_lanes_or(load_partial(x, lanes), lanes, centre), centre);
    count(of.sum[0], of.squares[0]);
  }
  return total;
}

// `count` pixels at a time, so that the latencies of one are hidden behind the others.
template <int count>
void norm_rows(const NormCall& call, int sample, std::ptrdiff_t first) {
  const Tile<count> tile(call, sample, first);
  const double n = 1.0 / call.channels;
  float centre[count], a[count], b[count];
  for (int i = 0; i < count; ++i) {
    centre[i] = static_cast<float>(sum_row<false>(tile.in[i], call.channels, zero()).sum * n);
  }
  for (int i = 0; i < count; ++i) {
    const RowSums of = sum_row<true>(tile.in[i], call.channels, set1(centre[i]));
    const double mean = of.sum * n;  // of what the centre leaves
    const double variance = of.squares * n - mean * mean;
    const double scale =
        1 / __builtin_sqrt((variance < 0 ? 0 : variance) + static_cast<double>(call.eps));
    a[i] = static_cast<float>(scale);
    b[i] = static_cast<float>(-mean * scale);
  }
  for (std::ptrdiff_t c = 0; c < call.channels; c += kLanesSigned) {
    const std::size_t lanes =
        call.channels - c < kLanesSigned ? static_cast<std::size_t>(call.channels - c) : kLanes;
    F32 y[count];
    for (int i = 0; i < count; ++i) {
      y[i] = fma(sub(load_some(tile.in[i] + c, lanes), set1(centre[i])), set1(a[i]), set1(b[i]));
    }
    finish<count>(call, tile, c, lanes, true, y);
  }
}

void pixels(const NormCall& call, int sample, std::ptrdiff_t first, std::ptrdiff_t count) {
  const std::ptrdiff_t last = first + count;
  for (; first + kRows <= last; first += kRows) norm_rows<kRows>(call, sample, first);
  for (; first < last; ++first) norm_rows<1>(call, sample, first);
}

constexpr NormKernels kKernels = {sums, deviations, apply, pixels};

}  // namespace
}  // namespace fd
