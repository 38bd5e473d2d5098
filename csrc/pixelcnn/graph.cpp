#include "pixelcnn/graph.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "core/error.h"

namespace fd {
namespace {

constexpr std::size_t kMostChannels = 1 << 20;  // of a value: more is a mistake or an attack
constexpr std::size_t kMostInAll = 1 << 24;

// Where the channels of a value are: all dimensions but rows and columns, row-major.
struct View {
  PixelOperand::Kind kind = PixelOperand::map;
  std::vector<ChannelAt> channels;  // of a map or of a value by sample; empty for constants
  const Value* value = nullptr;     // a constant
};

class Reader {
 public:
  Reader(const Program& program, const std::string& image) : program_(program) {
    views_.resize(program.values.size());
    for (std::size_t i = 0; i < program.values.size(); ++i) {
      if (program.values[i].constant == nullptr) continue;
      views_[i].kind = PixelOperand::constant;
      views_[i].value = &program.values[i];
    }
    for (const int i : program.inputs) read_input(i, image);
    if (graph_.maps.empty()) fail_argument("program", "an input named " + image, "none");
    for (const Node& node : program.nodes) read(node);
    read_output();
  }
  PixelGraph take() { return std::move(graph_); }

 private:
  void read_input(int i, const std::string& image);
  void read_output();
  bool order_logits();
  void read(const Node& node);
  void read_op(const Node& node);
  void read_conv(const Node& node);
  void read_elementwise(const Node& node);
  void read_slice(const Node& node);
  void read_permute(const Node& node);
  void read_concat(const Node& node);

  const Value& value(int i) const { return program_.values[static_cast<std::size_t>(i)]; }
  View& view(int i) { return views_[static_cast<std::size_t>(i)]; }
  // Of a map's shape: all dimensions but rows and columns.
  static std::size_t channels_in(const std::vector<std::int64_t>& shape) {
    std::size_t channels = 1;
    for (std::size_t d = 0; d + 2 < shape.size(); ++d) {
      channels *= static_cast<std::size_t>(shape[d]);
    }
    return channels;
  }
  bool is_map(const std::vector<std::int64_t>& shape) const {
    const std::size_t rank = shape.size();
    return rank >= 3 && shape[rank - 2] == graph_.height && shape[rank - 1] == graph_.width;
  }
  [[noreturn]] void refuse(const Node& node, const std::string& why) const {
    fail_argument(
        "model", "ops that happen at one pixel at a time",
        std::string(op_name(node.op)) + why + (node.path.empty() ? "" : " at " + node.path));
  }

  int new_map(int channels, const std::string& path) {
    all_channels_ += static_cast<std::size_t>(channels);
    check_size(static_cast<std::size_t>(channels));
    graph_.maps.push_back(channels);
    graph_.made_by.push_back(path);
    return static_cast<int>(graph_.maps.size()) - 1;
  }
  void check_size(std::size_t channels) const {
    if (channels <= kMostChannels && all_channels_ <= kMostInAll) return;
    fail_argument("model", "values of at most " + std::to_string(kMostChannels) + " channels",
                  std::to_string(channels) + " of " + std::to_string(all_channels_) + " in all");
  }
  void bind_map(const Node& node, int map) {
    View& made = view(node.output);
    made.kind = PixelOperand::map;
    for (int c = 0; c < graph_.maps[static_cast<std::size_t>(map)]; ++c) {
      made.channels.push_back({map, c});
    }
  }
  // Channels of a value whose rows and columns are a position's, or of one by sample.
  int channels_of(const Node& node, int i) const;
  // How many from `first` on stand next to each other in one map.
  static int together(const View& view, int first) {
    const auto& c = view.channels;
    std::size_t end = static_cast<std::size_t>(first) + 1;
    while (end < c.size() && c[end].map == c[end - 1].map &&
           c[end].channel == c[end - 1].channel + 1) {
      ++end;
    }
    return static_cast<int>(end) - first;
  }
  // The value as one map's adjacent channels, copied there where it is not.
  ChannelAt gathered(const Node& node, int i);
  PixelOperand operand(const Node& node, int i, int first, int channels, int whole);
  PixelStep step_of(const Node& node, const NodeEpilogue& entry, int first, int channels,
                    int whole);

  const Program& program_;
  std::vector<View> views_;
  std::size_t all_channels_ = 0;
  PixelGraph graph_;
};

void Reader::read_input(int i, const std::string& image) {
  const Value& input = value(i);
  View& made = view(i);
  if (input.name == image) {
    graph_.colours = static_cast<int>(input.shape[0]);
    graph_.height = static_cast<int>(input.shape[1]);
    graph_.width = static_cast<int>(input.shape[2]);
    graph_.maps.insert(graph_.maps.begin(), graph_.colours);
    graph_.made_by.insert(graph_.made_by.begin(), image);
    for (int c = 0; c < graph_.colours; ++c) made.channels.push_back({0, c});
    return;
  }
  std::int64_t channels = 1;
  for (const std::int64_t size : input.shape) channels *= size;
  all_channels_ += static_cast<std::size_t>(channels);
  check_size(static_cast<std::size_t>(channels));
  made.kind = PixelOperand::per_sample;
  const int index = static_cast<int>(graph_.per_sample.size());
  graph_.per_sample.push_back(input.name);
  graph_.per_sample_channels.push_back(static_cast<int>(channels));
  for (int c = 0; c < static_cast<int>(channels); ++c) made.channels.push_back({index, c});
}

int Reader::channels_of(const Node& node, int i) const {
  const View& from = views_[static_cast<std::size_t>(i)];
  const auto& shape = value(i).shape;
  if (from.kind == PixelOperand::map && !is_map(shape)) refuse(node, " over rows or columns");
  return static_cast<int>(from.channels.size());
}

ChannelAt Reader::gathered(const Node& node, int i) {
  const int channels = channels_of(node, i);
  const View& from = view(i);
  if (from.channels.size() != channels_in(value(i).shape)) refuse(node, " of what is not a map");
  if (from.kind == PixelOperand::map && together(from, 0) == channels) return from.channels[0];
  const int map = new_map(channels, node.path);
  for (int first = 0; first < channels;) {
    const int count = from.kind == PixelOperand::map ? together(from, first) : channels;
    PixelOp op;
    op.out = map, op.first = first, op.channels = count;
    op.source = operand(node, i, first, count, channels);
    op.path = node.path;
    graph_.ops.push_back(std::move(op));
    first += count;
  }
  return {map, 0};
}

// `channels` channels of value i from `first` on, which stand together, for an op that makes
// `whole`: the value has as many, or one for all.
PixelOperand Reader::operand(const Node& node, int i, int first, int channels, int whole) {
  const View& from = view(i);
  PixelOperand made;
  made.kind = from.kind;
  if (from.kind == PixelOperand::constant) {
    const auto& shape = from.value->shape;
    std::int64_t elements = 1;
    for (const std::int64_t size : shape) elements *= size;
    const std::size_t rank = shape.size();
    const bool by_channel =
        rank >= 3 && shape[rank - 1] == 1 && shape[rank - 2] == 1 && elements == shape[rank - 3];
    if (elements != 1 && !(by_channel && elements == whole)) {
      refuse(node, " with a constant that is not one by channel");
    }
    made.data = from.value->constant + (elements == 1 ? 0 : first);
    made.step = elements == 1 ? 0 : 1;
    return made;
  }
  if (from.kind == PixelOperand::per_sample) {
    const auto& shape = value(i).shape;
    const std::size_t rank = shape.size();
    const bool inner = rank < 3 || (shape[rank - 1] == 1 && shape[rank - 2] == 1) || is_map(shape);
    if (!inner || (rank < 3 && from.channels.size() != 1)) {
      refuse(node, " with a value by sample that is not one by channel");
    }
  } else if (!is_map(value(i).shape)) {
    refuse(node, " over rows or columns");
  }
  if (from.channels.size() == 1) {
    made.index = from.channels[0].map, made.first = from.channels[0].channel, made.step = 0;
    if (channels == 1) made.step = 1;
    return made;
  }
  if (from.channels.size() != static_cast<std::size_t>(whole)) {
    refuse(node, " with a value that is not one by channel");
  }
  const ChannelAt at = from.channels[static_cast<std::size_t>(first)];
  made.index = at.map, made.first = at.channel;
  return made;
}

PixelStep Reader::step_of(const Node& node, const NodeEpilogue& entry, int first, int channels,
                          int whole) {
  PixelStep step;
  step.unary = entry.kind == EpilogueStep::unary;
  step.function = entry.function;
  if (step.unary) return step;
  step.binary = entry.kind == EpilogueStep::add ? Binary::add : Binary::mul;
  const int i = node.inputs[static_cast<std::size_t>(entry.input)];
  step.operand = operand(node, i, first, channels, whole);
  return step;
}

void Reader::read_conv(const Node& node) {
  const auto& kernel = value(node.inputs[1]).shape;
  const auto& out = value(node.output).shape;
  if (node.stride[0] != 1 || node.stride[1] != 1) refuse(node, " with a stride");
  if (!is_map(out) || !is_map(value(node.inputs[0]).shape)) {
    refuse(node, " that changes the image's size");
  }
  // What an epilogue adds stands together, too. Before the op: it may need copies of its own.
  for (const NodeEpilogue& entry : node.epilogue) {
    if (entry.kind == EpilogueStep::unary) continue;
    const int i = node.inputs[static_cast<std::size_t>(entry.input)];
    View& added = view(i);
    if (added.kind != PixelOperand::map || added.channels.size() == 1) continue;
    const ChannelAt at = gathered(node, i);
    for (std::size_t c = 0; c < added.channels.size(); ++c) {
      added.channels[c] = {at.map, at.channel + static_cast<int>(c)};
    }
  }
  const ChannelAt in = gathered(node, node.inputs[0]);
  PixelOp op;
  op.conv = true;
  op.channels = static_cast<int>(out[0]);
  op.in = in.map, op.in_first = in.channel,
  op.in_channels = static_cast<int>(kernel[1]) * node.groups;
  op.groups = node.groups;
  op.kernel = static_cast<int>(kernel[2] * kernel[3]);
  op.weight = value(node.inputs[1]).constant;
  if (node.inputs.size() > 2 && node.inputs[2] >= 0) op.bias = value(node.inputs[2]).constant;
  for (int ky = 0; ky < static_cast<int>(kernel[2]); ++ky) {
    for (int kx = 0; kx < static_cast<int>(kernel[3]); ++kx) {
      const int dy = ky * node.dilation[0] - node.padding[0];
      const int dx = kx * node.dilation[1] - node.padding[1];
      const int index = ky * static_cast<int>(kernel[3]) + kx;
      if (std::abs(dy) >= graph_.height || std::abs(dx) >= graph_.width) continue;
      bool live = false;
      for (std::ptrdiff_t k = 0; k < kernel[0] * kernel[1] && !live; ++k) {
        live = op.weight[k * op.kernel + index] != 0;
      }
      if (live) op.taps.push_back({-dy, dx, index});
    }
  }
  for (const NodeEpilogue& entry : node.epilogue) {
    op.steps.push_back(step_of(node, entry, 0, op.channels, op.channels));
  }
  op.path = node.path;
  op.out = new_map(op.channels, node.path);
  bind_map(node, op.out);
  graph_.ops.push_back(std::move(op));
}

void Reader::read_elementwise(const Node& node) {
  const auto& shape = value(node.output).shape;
  if (!is_map(shape)) refuse(node, " over rows or columns");
  check_size(channels_in(shape));
  const auto channels = static_cast<int>(channels_in(shape));
  std::vector<int> read = {node.inputs.begin(), node.inputs.end()};
  const int map = new_map(channels, node.path);
  // In pieces in which all inputs stand together.
  for (int first = 0; first < channels;) {
    int count = channels - first;
    for (const int i : read) {
      const View& from = view(i);
      if (from.channels.size() > 1) count = std::min(count, together(from, first));
    }
    PixelOp op;
    op.out = map, op.first = first, op.channels = count;
    op.path = node.path;
    // A constant or a value by sample comes second, where the op allows it.
    const bool binary = node.op == Op::binary;
    const bool swapped = binary && view(node.inputs[0]).kind != PixelOperand::map;
    op.source = operand(node, node.inputs[swapped ? 1 : 0], first, count, channels);
    PixelStep step;
    if (binary) {
      step.unary = false, step.swapped = swapped, step.binary = node.binary;
      step.operand = operand(node, node.inputs[swapped ? 0 : 1], first, count, channels);
    } else {
      step.function = node.unary;
    }
    op.steps.push_back(step);
    for (const NodeEpilogue& entry : node.epilogue) {
      op.steps.push_back(step_of(node, entry, first, count, channels));
    }
    graph_.ops.push_back(std::move(op));
    first += count;
  }
  bind_map(node, map);
}

void Reader::read_slice(const Node& node) {
  const auto& shape = value(node.inputs[0]).shape;
  const std::size_t dim = static_cast<std::size_t>(node.dim) - 1;  // without the batch
  const View& from = view(node.inputs[0]);
  if (from.kind == PixelOperand::map && dim + 2 >= shape.size()) {
    refuse(node, " of rows or columns");
  }
  std::size_t outer = 1, inner = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (from.kind == PixelOperand::map && d + 2 >= shape.size()) break;
    if (d < dim) outer *= static_cast<std::size_t>(shape[d]);
    if (d > dim) inner *= static_cast<std::size_t>(shape[d]);
  }
  View made{from.kind, {}, nullptr};
  for (std::size_t o = 0; o < outer; ++o) {
    for (std::int64_t k = node.start; k < node.stop; k += node.step) {
      for (std::size_t i = 0; i < inner; ++i) {
        const std::size_t row =
            o * static_cast<std::size_t>(shape[dim]) + static_cast<std::size_t>(k);
        made.channels.push_back(from.channels[row * inner + i]);
      }
    }
  }
  view(node.output) = std::move(made);
}

void Reader::read_permute(const Node& node) {
  const auto& shape = value(node.inputs[0]).shape;
  const View& from = view(node.inputs[0]);
  const std::size_t rank = shape.size();
  const bool stays = rank >= 2 && node.dims[rank] == static_cast<int>(rank) &&
                     node.dims[rank - 1] == static_cast<int>(rank) - 1;
  if (from.kind == PixelOperand::map && !stays) refuse(node, " of rows or columns");
  const std::size_t dims = from.kind == PixelOperand::map ? rank - 2 : rank;
  std::vector<std::size_t> stride(dims, 1);
  for (std::size_t d = dims; d-- > 1;) {
    stride[d - 1] = stride[d] * static_cast<std::size_t>(shape[d]);
  }
  View made{from.kind, {}, nullptr};
  std::vector<std::int64_t> index(dims, 0);
  for (std::size_t k = 0; k < from.channels.size(); ++k) {
    std::size_t at = 0;
    for (std::size_t d = 0; d < dims; ++d) {
      const auto of = static_cast<std::size_t>(node.dims[d + 1] - 1);
      at += static_cast<std::size_t>(index[d]) * stride[of];
    }
    made.channels.push_back(from.channels[at]);
    for (std::size_t d = dims; d-- > 0;) {
      const auto of = static_cast<std::size_t>(node.dims[d + 1] - 1);
      if (++index[d] < shape[of]) break;
      index[d] = 0;
    }
  }
  view(node.output) = std::move(made);
}

void Reader::read_concat(const Node& node) {
  if (node.dim != 1) refuse(node, " along another dimension than the channels'");
  View made;
  for (const int i : node.inputs) {
    // A constant or a value by sample becomes a map of its own.
    if (view(i).kind == PixelOperand::map) {
      channels_of(node, i);
      const auto& channels = view(i).channels;
      made.channels.insert(made.channels.end(), channels.begin(), channels.end());
      continue;
    }
    const auto& shape = value(i).shape;
    if (shape.empty() || !is_map(shape) || view(i).kind == PixelOperand::constant) {
      refuse(node, " of what is not a map");
    }
    const ChannelAt at = gathered(node, i);
    for (int c = 0; c < static_cast<int>(view(i).channels.size()); ++c) {
      made.channels.push_back({at.map, c});
    }
  }
  all_channels_ += made.channels.size();
  check_size(made.channels.size());
  view(node.output) = std::move(made);
}

// All that follows relies on a channel for each of a map's places in its other dimensions.
void Reader::read(const Node& node) {
  read_op(node);
  const View& made = view(node.output);
  if (made.kind != PixelOperand::map) return;
  const auto& shape = value(node.output).shape;
  if (!is_map(shape) || made.channels.size() != channels_in(shape)) {
    refuse(node, " over rows or columns");
  }
}

void Reader::read_op(const Node& node) {
  switch (node.op) {
    case Op::conv2d:
      return read_conv(node);
    case Op::unary:
    case Op::binary:
      return read_elementwise(node);
    case Op::slice:
      return read_slice(node);
    case Op::concat:
      return read_concat(node);
    case Op::permute:
      return read_permute(node);
    case Op::reshape:
      channels_of(node, node.inputs[0]);
      if (view(node.inputs[0]).kind == PixelOperand::map && !is_map(value(node.output).shape)) {
        refuse(node, " of rows or columns");
      }
      view(node.output) = view(node.inputs[0]);
      return;
    case Op::broadcast:
      if (view(node.inputs[0]).kind != PixelOperand::per_sample) refuse(node, "");
      view(node.output) = view(node.inputs[0]);
      return;
    default:
      refuse(node, "");
  }
}

// Where one convolution makes nothing but the logits, colours mixed, it makes them in their order.
bool Reader::order_logits() {
  const int map = graph_.logits[0].map;
  const auto channels = static_cast<std::size_t>(graph_.maps[static_cast<std::size_t>(map)]);
  if (map == 0 || graph_.logits.size() != channels) return false;
  PixelOp* maker = nullptr;
  for (PixelOp& op : graph_.ops) {
    const auto reads = [&](const PixelOperand& operand) {
      return operand.kind == PixelOperand::map && operand.index == map;
    };
    bool read = op.conv ? op.in == map : reads(op.source);
    for (const PixelStep& step : op.steps) read = read || (!step.unary && reads(step.operand));
    if (read || (op.out == map && maker != nullptr)) return false;
    if (op.out == map) maker = &op;
  }
  if (maker == nullptr || !maker->conv) return false;
  std::vector<int> order;
  std::vector<bool> seen(channels);
  for (const ChannelAt& at : graph_.logits) {
    if (at.map != map || seen[static_cast<std::size_t>(at.channel)]) return false;
    seen[static_cast<std::size_t>(at.channel)] = true;
    order.push_back(at.channel);
  }
  for (const PixelStep& step : maker->steps) {
    if (!step.unary) return false;
  }
  maker->order = std::move(order);
  for (std::size_t k = 0; k < channels; ++k) graph_.logits[k].channel = static_cast<int>(k);
  return true;
}

void Reader::read_output() {
  const int output = program_.outputs[0];
  const auto& shape = value(output).shape;
  const View& made = view(output);
  const bool whole = shape.size() == 4 && is_map(shape) && shape[1] == graph_.colours;
  if (!whole || shape[0] < 2 || made.kind != PixelOperand::map) {
    fail_argument("model",
                  "logits [B, levels, " + std::to_string(graph_.colours) + ", " +
                      std::to_string(graph_.height) + ", " + std::to_string(graph_.width) + "]",
                  "another shape");
  }
  check_size(made.channels.size());
  graph_.levels = static_cast<int>(shape[0]);
  const auto levels = static_cast<std::size_t>(graph_.levels);
  const auto colours = static_cast<std::size_t>(graph_.colours);
  for (std::size_t c = 0; c < colours; ++c) {
    for (std::size_t l = 0; l < levels; ++l) {
      graph_.logits.push_back(made.channels[l * colours + c]);
    }
  }
  if (order_logits()) return;
  // A colour's logits are read as one row: copied together where they are made apart.
  for (std::size_t c = 0; c < colours; ++c) {
    View colour;
    colour.channels.assign(graph_.logits.begin() + static_cast<std::ptrdiff_t>(c * levels),
                           graph_.logits.begin() + static_cast<std::ptrdiff_t>((c + 1) * levels));
    if (colour.channels[0].map != 0 && together(colour, 0) == graph_.levels) continue;
    const int map = new_map(graph_.levels, "logits");
    for (int first = 0; first < graph_.levels;) {
      PixelOp op;
      op.out = map, op.first = first, op.channels = together(colour, first);
      const ChannelAt at = colour.channels[static_cast<std::size_t>(first)];
      op.source.index = at.map, op.source.first = at.channel;
      op.path = "logits";
      first += op.channels;
      graph_.ops.push_back(std::move(op));
    }
    for (std::size_t l = 0; l < levels; ++l) {
      graph_.logits[c * levels + l] = {map, static_cast<int>(l)};
    }
  }
}

}  // namespace

PixelGraph pixel_graph(const Program& program, const std::string& image) {
  return Reader(program, image).take();
}

}  // namespace fd
