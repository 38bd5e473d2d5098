// Depthwise convolution: each channel by its own kernel, channels in the lanes, taps in order in
// float32. kAtOnce output pixels share a load of the weights and hide the latency of the
// multiply-add; each multiply-add has a load of the input. Not tuned.
#pragma once

#include "cpu/simd/conv_store.h"

namespace fd {
namespace {

constexpr int kAtOnce = 8;

template <int R, bool full>
inline void depthwise_rows(const DepthwiseBlock& block, int first, std::ptrdiff_t c,
                           std::size_t lanes, F32* y) {
  F32 acc[R];
  const F32 bias = load(block.target.bias + (c - block.target.first_channel));
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) acc[r] = zero();
  for (int tap = 0; tap < block.taps; ++tap) {
    const F32 weight = load(block.weight + tap * block.weight_tap + c);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float* from = block.a[(first + r) * block.taps + tap] + c;
      acc[r] = fma(full ? load(from) : load_partial(from, lanes), weight, acc[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) y[r] = add(acc[r], bias);
}

template <int R>
void depthwise_rows(const DepthwiseBlock& block, int first) {
  constexpr std::ptrdiff_t lanes = kLanes;
  OutputPixels pixels(block.target);
  for (int r = 0; r < R; ++r) {
    const ConvPixel& pixel = block.pixels[first + r];
    pixels.add_row(block.target, pixel.sample, pixel.y, pixel.x, 1);
  }
  const std::ptrdiff_t begin = block.target.first_channel, end = begin + block.target.channels;
  for (std::ptrdiff_t c = begin; c < end; c += lanes) {
    F32 y[R];
    if (c + lanes <= end) {
      depthwise_rows<R, true>(block, first, c, kLanes, y);
    } else {
      depthwise_rows<R, false>(block, first, c, static_cast<std::size_t>(end - c), y);
    }
    store_outputs(block.target, y, pixels, (c - begin) / lanes);
  }
}

void depthwise(const DepthwiseBlock& block) {
  int first = 0;
  for (; first + kAtOnce <= block.rows; first += kAtOnce) depthwise_rows<kAtOnce>(block, first);
  if (block.rows - first >= 4) {
    depthwise_rows<4>(block, first);
    first += 4;
  }
  for (; first < block.rows; ++first) depthwise_rows<1>(block, first);
}

}  // namespace
}  // namespace fd
