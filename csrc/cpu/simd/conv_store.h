// Finished sums to the output: epilogue, then store. Included after epilogue_body.h.
#pragma once

#include "cpu/conv_kernels.h"
#include "cpu/simd/epilogue_body.h"

namespace fd {
namespace {

constexpr int kStoreAtOnce = 16;

// Up to kStoreAtOnce output pixels: their addresses, worked out once for all the panel's vectors,
// and their places where the epilogue has operands.
struct OutputPixels {
  explicit OutputPixels(const ConvTarget& target)
      : places(target.epilogue && has_operands(*target.epilogue)) {}
  bool places;
  int count = 0;
  Place at[kStoreAtOnce];
  float* to[kStoreAtOnce];  // the panel's first channel

  // `columns` pixels from (y, x) on.
  void add_row(const ConvTarget& target, std::ptrdiff_t sample, std::ptrdiff_t y, std::ptrdiff_t x,
               int columns) {
    const Image& out = target.out;
    float* pixel =
        out.data + sample * out.sample + y * out.row + x * out.pixel + target.first_channel;
    for (int j = 0; j < columns; ++j, pixel += out.pixel) {
      if (places) at[count] = {sample, y, x + j};
      to[count++] = pixel;
    }
  }
};

// How many of the lanes of a panel's vector are channels.
inline std::size_t lanes_of(const ConvTarget& target, std::ptrdiff_t vector) {
  constexpr std::ptrdiff_t all = kLanes;
  const std::ptrdiff_t left = target.channels - vector * all;
  return static_cast<std::size_t>(left < all ? left : all);
}

// y[i]: `vector` of the panel at pixel i.
inline void store_outputs(const ConvTarget& target, F32* y, const OutputPixels& pixels,
                          std::ptrdiff_t vector) {
  const std::ptrdiff_t first = vector * static_cast<std::ptrdiff_t>(kLanes);
  const std::ptrdiff_t channel = target.first_channel + first;
  const std::size_t lanes = lanes_of(target, vector);
  if (lanes == kLanes && target.epilogue) {
    return apply_epilogue_and_store(*target.epilogue, y, pixels.at, pixels.count, channel,
                                    pixels.to, first);
  }
  if (lanes == kLanes) {
    for (int i = 0; i < pixels.count; ++i) store(pixels.to[i] + first, y[i]);
    return;
  }
  if (target.epilogue) apply_epilogue(*target.epilogue, y, pixels.at, pixels.count, channel, lanes);
  for (int i = 0; i < pixels.count; ++i) store_partial(pixels.to[i] + first, y[i], lanes);
}

}  // namespace
}  // namespace fd
