// Depthwise convolution: a pointer per tap and output pixel, as in conv_direct.cpp, and channels in
// the lanes.

#include "cpu/conv_algorithms.h"
#include "cpu/dispatch.h"

namespace fd {
namespace {

constexpr int kDefaultBlock = 32;

class DepthwiseConv final : public Conv {
 public:
  DepthwiseConv(const ConvShape& shape, Isa isa, const float* weight, const float* bias)
      : shape_(shape),
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
  void run(const ConvCall& call) const override;

 private:
  struct Pieces {
    const float** pointers;
    ConvPixel* pixels;
    std::size_t floats;
  };
  Pieces layout(float* base, int block) const {
    Scratch scratch(base);
    const auto rows = static_cast<std::size_t>(block > 0 ? block : kDefaultBlock);
    Pieces pieces;
    pieces.pointers = scratch.take<const float*>(rows * static_cast<std::size_t>(taps_));
    pieces.pixels = scratch.take<ConvPixel>(rows);
    pieces.floats = scratch.floats();
    return pieces;
  }
  const float** point(const ConvCall& call, const ConvPixel& pixel, const float** to) const;

  ConvShape shape_;
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

void DepthwiseConv::run(const ConvCall& call) const {
  if (call.samples < 1) return;
  const Share whole;
  const Range vectors = part_of(padded_ / kernels_.lanes, call.split_channels ? call.share : whole);
  const Range pixels = part_of(call.samples * std::ptrdiff_t{shape_.out_height} * shape_.out_width,
                               call.split_channels ? whole : call.share);
  if (vectors.begin == vectors.end) return;
  const Pieces pieces = layout(call.scratch, call.block);
  const std::ptrdiff_t first = vectors.begin * kernels_.lanes;
  const std::ptrdiff_t end =
      std::min<std::ptrdiff_t>(vectors.end * kernels_.lanes, shape_.in_channels);
  DepthwiseBlock block;
  block.taps = taps_;
  block.a = pieces.pointers;
  block.weight = static_cast<const float*>(weights_.at(0));
  block.weight_tap = padded_;
  block.pixels = pieces.pixels;
  block.target = {call.out, call.epilogue, static_cast<const float*>(bias_.at(0)) + first, first,
                  static_cast<int>(end - first)};
  const int most = call.block > 0 ? call.block : kDefaultBlock;
  for (std::ptrdiff_t begin = pixels.begin; begin < pixels.end; begin += most) {
    block.rows = static_cast<int>(std::min<std::ptrdiff_t>(most, pixels.end - begin));
    const float** to = pieces.pointers;
    for (int r = 0; r < block.rows; ++r) {
      const std::ptrdiff_t index = begin + r;
      pieces.pixels[r] = {index / shape_.out_width / shape_.out_height,
                          index / shape_.out_width % shape_.out_height, index % shape_.out_width};
      to = point(call, pieces.pixels[r], to);
    }
    kernels_.run(block);
  }
}

}  // namespace

std::unique_ptr<Conv> make_depthwise_conv(const ConvShape& shape, Isa isa, const float* weight,
                                          const float* bias) {
  return std::make_unique<DepthwiseConv>(shape, isa, weight, bias);
}

}  // namespace fd
