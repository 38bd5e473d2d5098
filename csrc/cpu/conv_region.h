// Convolutions that can be made region by region, which is how a pool behind them has their outputs
// while they are at hand (conv_pool.cpp).
#pragma once

#include <cstddef>

#include "cpu/conv.h"

namespace fd {

// A range of units of work, or of channels.
struct Range {
  std::ptrdiff_t begin, end;
};

// Some of a convolution's outputs: rows x columns of them from (y, x) on, of `samples` samples from
// `sample` on. Any of the whole, but for a transposed one, which is always whole.
struct ConvRegion {
  int sample, samples;
  int y, x, rows, columns;
};

// What an algorithm makes at a time.
struct ConvGrain {
  int tile;                // regions begin at a multiple of it, and end there or with the image
  std::ptrdiff_t outputs;  // of a block, so that smaller regions cost more an output
};

// A convolution that can make a region of its outputs; the shape's pool is none of its business.
class RegionConv : public Conv {
 public:
  explicit RegionConv(const ConvShape& shape) : shape_(shape) {}

  // The region, of which the call's share is made.
  virtual void run_region(const ConvCall& call, const ConvRegion& region) const = 0;
  virtual ConvGrain grain(int block) const = 0;
  // What a part makes where parts share out the channels.
  virtual Range channels(const Share& share) const = 0;

  void run(const ConvCall& call) const final {
    run_region(call, {0, call.samples, 0, 0, shape_.out_height, shape_.out_width});
  }

 protected:
  const ConvShape shape_;
};

}  // namespace fd
