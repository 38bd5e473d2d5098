// Depthwise convolution: a pointer per tap and output pixel, as in conv_direct.cpp, and channels in
// the lanes.

#include "cpu/conv_algorithms.h"
#include "cpu/dispatch.h"

namespace fd {
namespace {

class DepthwiseConv final : public RegionConv {
 public:
  DepthwiseConv(const ConvShape& shape, Isa isa, const float* weight, const float* bias)
      : RegionConv(shape),
        kernels_(FD_KERNELS(isa, kDepthwise)),
        taps_(shape.kernel_y * shape.kernel_x),
        padded_(static_cast<std::ptrdiff_t>(round_up(static_cast<std::size_t>(shape.in_channels),
                                                     static_cast<std::size_t>(kernels_.lanes)))),
        weights_(static_cast<std::size_t>(padded_ * taps_) * sizeof(float)),
        bias_(static_cast<std::size_t>(padded_) * sizeof(float)),
        zeros_(static_cast<std::size_t>(padded_) * sizeof(float)) {
    float* to = static_cast<float*>(weights_.at(0));
    for (int tap = 0; tap < taps_; ++tap) {
      for (int c = 0; c < shape.in_channels; ++c) {
        to[tap * padded_ + c] = weight[std::ptrdiff_t{c} * taps_ + tap];
      }
    }
    if (bias) std::copy(bias, bias + shape.in_channels, static_cast<float*>(bias_.at(0)));
  }

  std::size_t scratch_floats(int, int block) const override {
    return layout(nullptr, block).floats;
  }
  std::size_t weight_bytes() const override { return weights_.size(); }
  ConvGrain grain(int block) const override { return {1, wanted(block)}; }
  Range channels(const Share& share) const override {
    const Range vectors = part_of(padded_ / kernels_.lanes, share);
    const std::ptrdiff_t most = shape_.out_channels;
    return {std::min(vectors.begin * kernels_.lanes, most),
            std::min(vectors.end * kernels_.lanes, most)};
  }
  void run_region(const ConvCall& call, const ConvRegion& region) const override;

 private:
  struct Pieces {
    const float** pointers;
    ConvPixel* pixels;
    std::size_t floats;
  };
  static int wanted(int block) { return block_of(block, ConvAlgorithm::depthwise); }
  Pieces layout(float* base, int block) const {
    Scratch scratch(base);
    const auto rows = static_cast<std::size_t>(wanted(block));
    Pieces pieces;
    pieces.pointers = scratch.take<const float*>(rows * static_cast<std::size_t>(taps_));
    pieces.pixels = scratch.take<ConvPixel>(rows);
    pieces.floats = scratch.floats();
    return pieces;
  }
  const float** point(const ConvCall& call, const ConvPixel& pixel, const float** to) const;

  const DepthwiseKernels& kernels_;
  int taps_;
  std::ptrdiff_t padded_;  // channels
  AlignedBytes weights_;   // [tap][padded_]
  AlignedBytes bias_, zeros_;
};

const float** DepthwiseConv::point(const ConvCall& call, const ConvPixel& pixel,
                                   const float** to) const {
  const ConvShape& s = shape_;
  const float* sample = call.in.data + pixel.sample * call.in.sample;
  for (int ky = 0; ky < s.kernel_y; ++ky) {
    const std::ptrdiff_t y = pixel.y * s.stride_y - s.padding_y + ky * s.dilation_y;
    for (int kx = 0; kx < s.kernel_x; ++kx) {
      const std::ptrdiff_t x = pixel.x * s.stride_x - s.padding_x + kx * s.dilation_x;
      const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
      *to++ = inside ? sample + y * call.in.row + x * call.in.pixel
                     : static_cast<const float*>(zeros_.at(0));
    }
  }
  return to;
}

void DepthwiseConv::run_region(const ConvCall& call, const ConvRegion& region) const {
  if (region.samples < 1) return;
  const Share whole;
  const Range channels = this->channels(call.split_channels ? call.share : whole);
  const Range pixels = part_of(std::ptrdiff_t{region.samples} * region.rows * region.columns,
                               call.split_channels ? whole : call.share);
  if (channels.begin == channels.end) return;
  const Pieces pieces = layout(call.scratch, call.block);
  DepthwiseBlock block;
  block.taps = taps_;
  block.a = pieces.pointers;
  block.weight = static_cast<const float*>(weights_.at(0));
  block.weight_tap = padded_;
  block.pixels = pieces.pixels;
  block.target = {call.out, call.epilogue, static_cast<const float*>(bias_.at(0)) + channels.begin,
                  channels.begin, static_cast<int>(channels.end - channels.begin)};
  const int most = wanted(call.block);
  for (std::ptrdiff_t begin = pixels.begin; begin < pixels.end; begin += most) {
    block.rows = static_cast<int>(std::min<std::ptrdiff_t>(most, pixels.end - begin));
    const float** to = pieces.pointers;
    for (int r = 0; r < block.rows; ++r) {
      const std::ptrdiff_t index = begin + r;
      pieces.pixels[r] = {region.sample + index / region.columns / region.rows,
                          region.y + index / region.columns % region.rows,
                          region.x + index % region.columns};
      to = point(call, pieces.pixels[r], to);
    }
    kernels_.run(block);
  }
}

}  // namespace

std::unique_ptr<RegionConv> make_depthwise_conv(const ConvShape& shape, Isa isa,
                                                const float* weight, const float* bias) {
  return std::make_unique<DepthwiseConv>(shape, isa, weight, bias);
}

}  // namespace fd
