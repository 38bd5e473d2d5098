// Convolutions, transposed convolutions and linear layers.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cpu/conv.h"
#include "plan/builder.h"
#include "plan/conv_step.h"
#include "plan/lowerings.h"

namespace fd {
namespace {

constexpr std::int64_t kMaxTaps = 65536, kMaxPhases = 4096;

void emit_conv(Builder& builder, const Node& node, const ConvShape& shape, const float* weight,
               const PlannedImage& in, const PlannedImage& out, PlannedEpilogue epilogue) {
  std::vector<Place> touched{in.place, out.place};
  for (const PlannedEpilogueStep& step : epilogue.steps) touched.push_back(step.operand.place);
  auto step = std::make_unique<ConvStep>(shape, weight, builder.constant_input(node, 2, "bias"), in,
                                         out, std::move(epilogue), builder.options());
  builder.emit(std::move(step), touched, node.path);
}

void lower_conv(Builder& builder, const Node& node) {
  const float* weight = builder.constant_input(node, 1, "weight");
  const PlannedImage in = builder.image(builder.input(node, 0), node.path);
  const Tensor to = builder.image_output(node);
  const Sizes made = builder.epilogue_size(node);
  const Axes axes{1, 2, 0};
  // Not builder.input: it would take the one output channel of a weight for a batch of one.
  const auto& kernel = builder.program().values[static_cast<std::size_t>(node.inputs[1])].shape;
  ConvShape shape;
  shape.transposed = node.op == Op::conv_transpose2d;
  // What kernels keep for each tap, and for each place that a stride skips to.
  if (kernel[2] * kernel[3] > kMaxTaps) {
    builder.refuse(node, "a kernel of " + std::to_string(kernel[2] * kernel[3]) + " taps");
  }
  if (shape.transposed && std::int64_t{node.stride[0]} * node.stride[1] > kMaxPhases) {
    builder.refuse(node, "strides of " + std::to_string(node.stride[0]) + " and " +
                             std::to_string(node.stride[1]));
  }
  shape.in_channels = in.channels;
  shape.out_channels = static_cast<int>(to.size[0]);
  shape.groups = node.groups;
  shape.kernel_y = static_cast<int>(kernel[2]);
  shape.kernel_x = static_cast<int>(kernel[3]);
  shape.stride_y = node.stride[0], shape.stride_x = node.stride[1];
  shape.padding_y = node.padding[0], shape.padding_x = node.padding[1];
  shape.more_y = node.more[0], shape.more_x = node.more[1];
  shape.dilation_y = node.dilation[0], shape.dilation_x = node.dilation[1];
  shape.height = in.height, shape.width = in.width;
  shape.out_height = static_cast<int>(made[1]), shape.out_width = static_cast<int>(made[2]);
  shape.pool = node.pool;
  shape.pool_y = node.pool_window[0], shape.pool_x = node.pool_window[1];
  emit_conv(builder, node, shape, weight, in, Builder::as_image(to, axes),
            builder.epilogue(node, made, axes));
  builder.bind(node.output, to);
}

// Over the last dimension: a 1x1 convolution of an image with that as its channels.
void lower_linear(Builder& builder, const Node& node) {
  const float* weight = builder.constant_input(node, 1, "weight");
  const Tensor from = builder.input(node, 0);
  const Tensor to = builder.row_major_output(node);
  // At most two dimensions before the channels.
  const auto joined = [](const Sizes& size) {
    if (size.size() <= 3) return size;
    Sizes less(size.end() - 3, size.end());
    for (std::size_t d = 0; d + 3 < size.size(); ++d) less[0] *= size[d];
    return less;
  };
  const Sizes in_size = joined(from.size), out_size = joined(to.size);
  const int rank = static_cast<int>(out_size.size());
  const Axes axes{rank > 2 ? 0 : -1, rank > 1 ? rank - 2 : -1, rank - 1};
  const Tensor x = builder.with_adjacent(builder.reshaped_or_copied(from, in_size, node.path),
                                         axes.channel, node.path);
  const PlannedImage in = Builder::as_image(x, axes);
  ConvShape shape;
  shape.in_channels = in.channels;
  shape.out_channels = static_cast<int>(to.size.back());
  shape.height = shape.out_height = in.height;
  shape.width = shape.out_width = in.width;
  emit_conv(builder, node, shape, weight, in,
            Builder::as_image(builder.reshaped_or_copied(to, out_size, node.path), axes),
            builder.epilogue(node, out_size, axes));
  builder.bind(node.output, to);
}

}  // namespace

const Lowering kLowerConv = lower_conv;
const Lowering kLowerLinear = lower_linear;

}  // namespace fd
