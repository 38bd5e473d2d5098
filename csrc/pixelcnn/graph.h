// A program as an autoregressive sampler sees it: what happens at one pixel, channel by channel.
//
// Every value of the program that depends on the image is a map [C, H, W]; what one position of it
// needs of others is said by the taps of convolutions alone. Reshapes, permutations, slices and
// concatenations of channels are gone: they only say where a channel is made.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ops/elementwise_kinds.h"
#include "ops/epilogue.h"
#include "plan/program.h"

namespace fd {

// A channel of a map that some op makes. Map 0 is the image.
struct ChannelAt {
  int map = -1, channel = 0;
};

// What an op reads at its own position, in step with its output's channels.
struct PixelOperand {
  enum Kind : int { map, per_sample, constant };
  Kind kind = map;
  int index = -1;               // of the map, or of PixelGraph::per_sample
  int first = 0;                // the channel that goes with the op's first one
  const float* data = nullptr;  // constant: the element that goes with it
  int step = 1;                 // 0: one element for all channels
};

// A function, or what is done with an operand; `swapped`: operand op y, not y op operand.
struct PixelStep {
  bool unary = true, swapped = false;
  Unary function = Unary::relu;
  Binary binary = Binary::add;
  PixelOperand operand;
};

// Reads `rows` rows above (negative: below) and `columns` columns to the right.
struct PixelTap {
  int rows = 0, columns = 0;
  int index = 0;  // into the kernel's row-major taps
};

// Makes `channels` channels of map `out`, from `first` on.
struct PixelOp {
  bool conv = false;
  int out = -1, first = 0, channels = 0;
  // A convolution's: weight [channels, in_channels / groups, kernel], those taps that reach into
  // the image and are not zero.
  int in = -1, in_first = 0, in_channels = 0, groups = 1, kernel = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;
  std::vector<int> order;  // of the weight's output channels: the op's c-th; empty: as they stand
  std::vector<PixelTap> taps;
  // All others start from this one.
  PixelOperand source;
  std::vector<PixelStep> steps;
  std::string path;

  int row_of(int channel) const {
    return order.empty() ? channel : order[static_cast<std::size_t>(channel)];
  }
  float weight_at(int out_channel, int in_channel, int tap) const {
    const std::ptrdiff_t row = row_of(out_channel);
    if (groups == 1) return weight[(row * in_channels + in_channel) * kernel + tap];
    const int each = in_channels / groups;
    if (in_channel / each != row / (channels / groups)) return 0;
    return weight[(row * each + in_channel % each) * kernel + tap];
  }
  float bias_at(int channel) const { return bias == nullptr ? 0.0f : bias[row_of(channel)]; }
};

struct PixelGraph {
  int colours = 1, height = 1, width = 1, levels = 2;
  std::vector<int> maps;                // channels of each
  std::vector<std::string> per_sample;  // inputs of the program other than the image
  std::vector<int> per_sample_channels;
  std::vector<PixelOp> ops;  // in an order in which they can be run
  // Of level l of colour c, at [c * levels + l].
  std::vector<ChannelAt> logits;
  std::vector<std::string> made_by;  // of each map: the module's path, for people

  // The first of the colour's logits, which stand together in one map.
  const ChannelAt& logits_of(int colour) const {
    return logits[static_cast<std::size_t>(colour) * static_cast<std::size_t>(levels)];
  }
};

// InvalidArgument where an op has no meaning at a pixel, naming op and path. `image`: the name of
// the program's input [colours, height, width]; its output is [levels, colours, height, width]. The
// program must outlive the graph.
PixelGraph pixel_graph(const Program& program, const std::string& image);

}  // namespace fd
