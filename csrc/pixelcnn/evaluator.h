// A wavefront with its weights, ready to be run subtime by subtime; and the memory of one run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/team.h"
#include "cpu/conv_kernels.h"
#include "ops/image.h"
#include "pixelcnn/packed_stage.h"
#include "pixelcnn/wavefront.h"
#include "plan/aligned.h"

namespace fd {

class PixelRun;

class PixelEvaluator {
 public:
  // The graph must outlive it.
  PixelEvaluator(const PixelGraph& graph, std::int64_t slope, Precision precision, Isa isa);

  const PixelGraph& graph() const { return graph_; }
  const Wavefront& plan() const { return wavefront_; }
  Precision precision() const { return precision_; }
  Isa isa() const { return isa_; }
  // Bytes of a run's maps and uniforms, for `samples` samples.
  double map_bytes(int samples) const;

 private:
  friend class PixelRun;
  // Pixels of a group in the rings with so many rows, and pointers to what its taps read.
  struct PixelKey {
    int group, ring;
  };
  struct PointerKey {
    int group, ring;  // of what is read
    std::ptrdiff_t stride_bytes;
    std::vector<PixelTap> taps;
  };
  // What a stage needs beside the wavefront's.
  struct Ready {
    std::unique_ptr<PackedStage> packed;  // convolutions
    std::size_t pixels = 0;               // into pixel_keys_
    std::size_t pointers = 0;             // into pointer_keys_; convolutions
  };
  // A map's memory: floats, and (bf16) what convolutions read, rounded. A ring starts with one
  // position of zeros, which stands for all outside the image.
  struct Cells {
    std::ptrdiff_t channels = 0;       // floats of a position
    std::ptrdiff_t rounded_bytes = 0;  // of a position; 0: not kept
    std::size_t positions = 0;         // a sample's
    bool zeros = false;
  };

  std::size_t pixel_key(int group, int ring);
  std::size_t pointer_key(PointerKey key);
  bool rounds(int map) const { return cells_[static_cast<std::size_t>(map)].rounded_bytes > 0; }

  const PixelGraph& graph_;
  Wavefront wavefront_;
  Precision precision_;
  Isa isa_;
  std::vector<Ready> ready_;  // by stage
  std::vector<Cells> cells_;  // by map
  std::vector<PixelKey> pixel_keys_;
  std::vector<PointerKey> pointer_keys_;
};

// The state of one run of up to `capacity` samples by a team.
class PixelRun {
 public:
  PixelRun(const PixelEvaluator& evaluator, int capacity, int threads);

  int capacity() const { return capacity_; }
  // Before the first subtime: how many samples, and for each of the graph's per_sample values
  // [samples, channels].
  void begin(int samples, const float* const* per_sample);
  // All stages of a subtime, by every member of the team; afterwards logits of the positions at
  // hand are there for the team's members that have passed the barrier inside.
  void step(std::int64_t subtime, Team& team);

  // Positions at which colour c is due at the subtime of the last step().
  Wavefront::Positions due(int colour) const;
  // Logits of sample s at the k-th of them.
  const float* logits(int colour, int k, int sample) const;
  // The chosen level as the network sees it.
  void set_pixel(int row, int column, int colour, int sample, float value);

 private:
  struct Member {  // a thread's own
    std::vector<std::vector<ConvPixel>> pixels;
    std::vector<std::vector<const void*>> pointers;
    std::vector<int> rows;  // by group
    AlignedFloats patches;
    std::vector<const void*> patch_rows;
  };
  struct Share {
    int first_row, last_row, first_channel, last_channel;
  };

  float* map_data(int map) const;  // the first position after the zeros
  Image image(int map) const;
  Operand operand(const PixelOperand& from, int first) const;
  char* rounded(int map) const;
  void place(std::int64_t subtime, Member& member) const;
  void point(const PixelEvaluator::PointerKey& key, std::int64_t subtime,
             std::vector<const void*>* to) const;
  Share share_of(const Stage& stage, int rows, const Team& team) const;
  void run_conv(std::size_t stage, const Share& share, Member& member) const;
  void run_pointwise(std::size_t stage, const Share& share, Member& member) const;
  void round_output(std::size_t stage, const Share& share, const Member& member) const;
  void round_cells(int map, int first, int count, const ConvPixel* pixels, int rows) const;
  void make_epilogues();

  const PixelEvaluator& evaluator_;
  int capacity_, samples_ = 0;
  std::int64_t subtime_ = 0;
  AlignedFloats memory_;
  std::vector<std::size_t> offset_;          // of each map's floats, zeros included
  std::vector<std::size_t> rounded_offset_;  // floats
  std::vector<const float*> per_sample_;
  std::vector<Epilogue> epilogues_;  // by stage
  std::vector<Member> members_;
};

}  // namespace fd
