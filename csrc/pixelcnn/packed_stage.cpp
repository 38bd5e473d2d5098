#include "pixelcnn/packed_stage.h"

#include <algorithm>
#include <vector>

#include "cpu/dispatch.h"

namespace fd {
namespace {

// Up to so many input channels a tap are copied into patches: a tap's pointer costs as much as a
// few channels' sums.
constexpr int kPatchChannels = 8;

std::size_t padded(int channels, int lanes) {
  return round_up(static_cast<std::size_t>(channels), static_cast<std::size_t>(lanes));
}

}  // namespace

const GemmKernels& gemm_kernels(Precision precision, Isa isa) {
#if defined(FD_HAVE_X86_SIMD)
  if (precision == Precision::bf16) return kGemmAvx512Bf16;
#endif
  static_cast<void>(precision);
  return FD_KERNELS(isa, kGemm);
}

PackedStage::PackedStage(const PixelOp& op, const Stage& stage, Precision precision, Isa isa)
    : layout_{precision == Precision::bf16},
      kernels_(gemm_kernels(precision, isa)),
      taps_(static_cast<int>(stage.taps.size())),
      in_first_(layout_.bf16 ? stage.in_first - (op.in_first + stage.in_first) % 2
                             : stage.in_first),
      channels_(stage.in_channels + stage.in_first - in_first_),
      patch_(taps_ > 1 && channels_ <= kPatchChannels),
      out_channels_(stage.channels),
      weights_(static_cast<std::size_t>(patch_ ? 1 : taps_) * static_cast<std::size_t>(depth()) *
               padded(stage.channels, kernels_.lanes) * sizeof(float)),
      bias_(padded(stage.channels, kernels_.lanes) * sizeof(float)) {
  for (int c = 0; c < stage.channels; ++c) {
    static_cast<float*>(bias_.at(0))[c] = op.bias_at(stage.first + c);
  }
  pack(op, stage);
}

void PackedStage::pack(const PixelOp& op, const Stage& stage) {
  std::vector<float> row(static_cast<std::size_t>(panel()));
  char* to = static_cast<char*>(weights_.at(0));
  for (int first = 0; first < out_channels_; first += panel()) {
    const int channels = std::min(panel(), out_channels_ - first);
    const int width = divide_up(channels, kernels_.lanes) * kernels_.lanes;
    for (int tap = 0; tap < taps_; ++tap) {
      for (int k = 0; k < channels_; ++k) {
        std::fill(row.begin(), row.end(), 0.0f);
        const int in = in_first_ + k;
        // A channel before the stage's own, read for bf16's pairs, has no weight.
        for (int c = 0; c < channels && in >= stage.in_first; ++c) {
          row[static_cast<std::size_t>(c)] = op.weight_at(
              stage.first + first + c, in, stage.taps[static_cast<std::size_t>(tap)].index);
        }
        layout_.put(to, width, patch_ ? tap * channels_ + k : k, row.data());
      }
      if (!patch_) to += depth() * width * static_cast<std::ptrdiff_t>(sizeof(float));
    }
    if (patch_) to += depth() * width * static_cast<std::ptrdiff_t>(sizeof(float));
  }
}

void PackedStage::run(GemmBlock block, int first, int last) const {
  block.taps = patch_ ? 1 : taps_;
  block.depth = depth();
  const auto channel_bytes =
      static_cast<std::size_t>(block.taps) * static_cast<std::size_t>(block.depth) * sizeof(float);
  for (int at = first; at < last; at += panel()) {
    block.b = weights_.at(static_cast<std::size_t>(at) * channel_bytes);
    block.target.bias = static_cast<const float*>(bias_.at(0)) + at;
    block.target.first_channel = at;
    block.target.channels = std::min(panel(), last - at);
    kernels_.gemm(block);
  }
}

}  // namespace fd
