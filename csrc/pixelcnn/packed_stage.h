// A convolution's weights for one stage, as the indirect GEMM reads them: zero taps and input
// channels left out.
#pragma once

#include <cstddef>

#include "cpu/conv_algorithms.h"
#include "pixelcnn/wavefront.h"

namespace fd {

class PackedStage {
 public:
  PackedStage(const PixelOp& op, const Stage& stage, Precision precision, Isa isa);

  const GemmKernels& kernels() const { return kernels_; }
  // Where a position's inputs are few, such as the image's, they are copied together first: one tap
  // of `patch_channels` channels.
  bool patch() const { return patch_; }
  int patch_channels() const { return taps_ * channels_; }
  // The first of the op's input channels that is read, and how many; an even first one in bf16,
  // where an element is two.
  int in_first() const { return in_first_; }
  int in_channels() const { return channels_; }
  // Rows [0, block.rows) of the block through output channels [first, last) of the stage, `first` a
  // multiple of panel(). The caller sets rows, a, a_offset_bytes, pixels and the target's out and
  // epilogue.
  void run(GemmBlock block, int first, int last) const;
  int panel() const { return kPanelVectors * kernels_.lanes; }

 private:
  std::ptrdiff_t depth() const { return layout_.depth(patch_ ? taps_ * channels_ : channels_); }
  void pack(const PixelOp& op, const Stage& stage);

  ElementLayout layout_;
  const GemmKernels& kernels_;
  int taps_, in_first_, channels_;
  bool patch_;
  int out_channels_;
  AlignedBytes weights_;  // [panel][tap][element][channel]
  AlignedBytes bias_;
};

// The kernels of the indirect GEMM.
const GemmKernels& gemm_kernels(Precision precision, Isa isa);

}  // namespace fd
