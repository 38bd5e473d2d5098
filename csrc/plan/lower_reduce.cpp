// Pools, means and look-ups.

#include <memory>

#include "cpu/elementwise.h"
#include "plan/builder.h"
#include "plan/lowerings.h"
#include "plan/views.h"

namespace fd {
namespace {

class PoolStep : public Step {
 public:
  PoolCall shape;
  PlannedImage in, out;
  PlannedEpilogue epilogue;

  void run(const Frame& frame) const override {
    PoolCall call = shape;
    const Epilogue bound = epilogue.bind(frame);
    call.samples = frame.samples;
    call.in = in.in(frame);
    call.out = out.out(frame);
    call.epilogue = bound.count > 0 ? &bound : nullptr;
    call.share = frame.share;
    pool(call, frame.isa);
  }
  std::string describe(int) const override {
    return std::string(shape.kind == PoolKind::max ? "max" : "mean") + " pool " +
           std::to_string(shape.kernel_y) + "x" + std::to_string(shape.kernel_x) + " to " +
           std::to_string(out.height) + "x" + std::to_string(out.width) + "x" +
           std::to_string(out.channels);
  }
};

class MeanStep : public Step {
 public:
  MeanStep(const Tensor& a, const Tensor& out, int reduced)
      : a_(a), out_(out), extent_(a.extent()), reduced_(reduced) {}
  void run(const Frame& frame) const override {
    mean(frame.samples, extent_, reduced_, const_view(a_, frame), view(out_, frame), frame.share,
         frame.isa);
  }
  std::string describe(int) const override { return "mean"; }

 private:
  Tensor a_, out_;
  Extent extent_;
  int reduced_;
};

class EmbeddingStep : public Step {
 public:
  EmbeddingCall shape;
  Place index, out;
  void run(const Frame& frame) const override {
    EmbeddingCall call = shape;
    const Bound from = frame.at(index), to = frame.at(out);
    call.samples = frame.samples;
    call.index = from.data, call.index_sample = from.sample;
    call.out = to.data, call.out_sample = to.sample;
    call.share = frame.share;
    embedding(call, frame.isa);
  }
  std::string describe(int) const override { return "embedding"; }
};

void lower_pool(Builder& builder, const Node& node) {
  const PlannedImage in = builder.image(builder.input(node, 0), node.path);
  const Tensor to = builder.image_output(node);
  const Axes axes{1, 2, 0};
  auto step = std::make_unique<PoolStep>();
  step->in = in;
  step->out = Builder::as_image(to, axes);
  step->epilogue = builder.epilogue(node, to.size, axes);
  PoolCall& shape = step->shape;
  shape.kind = node.pool;
  shape.channels = in.channels;
  shape.height = in.height, shape.width = in.width;
  shape.out_height = step->out.height, shape.out_width = step->out.width;
  shape.kernel_y = node.kernel[0], shape.kernel_x = node.kernel[1];
  shape.stride_y = node.stride[0], shape.stride_x = node.stride[1];
  shape.padding_y = node.padding[0], shape.padding_x = node.padding[1];
  std::vector<Place> touched{in.place, to.place};
  for (const PlannedEpilogueStep& entry : step->epilogue.steps) {
    touched.push_back(entry.operand.place);
  }
  builder.emit(std::move(step), touched, node.path);
  builder.bind(node.output, to);
}

void lower_mean(Builder& builder, const Node& node) {
  const Tensor in = builder.input(node, 0);
  std::vector<bool> reduced(in.size.size(), false);
  for (int dim : node.dims) {
    if (dim == 0) builder.refuse(node, "a mean over the batch");
    reduced[static_cast<std::size_t>(dim - 1)] = true;
  }
  std::vector<int> order;
  Sizes kept;
  for (bool last : {false, true}) {
    for (std::size_t d = 0; d < reduced.size(); ++d) {
      if (reduced[d] != last) continue;
      order.push_back(static_cast<int>(d));
      if (!last) kept.push_back(in.size[d]);
    }
  }
  const Tensor a = permuted(in, order);
  const Tensor out = builder.allocate(kept, row_major(kept));
  const int count = static_cast<int>(order.size() - kept.size());
  builder.emit(std::make_unique<MeanStep>(a, out, count), {a.place, out.place}, node.path);
  // Kept dimensions of size 1 come back where they were.
  builder.bind(node.output, builder.reshaped_or_copied(out, builder.output_size(node), node.path));
}

void lower_embedding(Builder& builder, const Node& node) {
  const float* table = builder.constant_input(node, 0, "table");
  const auto& table_shape =
      builder.program().values[static_cast<std::size_t>(node.inputs[0])].shape;
  const Tensor index = builder.dense(builder.input(node, 1), node.path);
  const Tensor out = builder.row_major_output(node);
  auto step = std::make_unique<EmbeddingStep>();
  step->shape.count = index.elements();
  step->shape.rows = table_shape[0];
  step->shape.width = table_shape[1];
  step->shape.table = table;
  step->index = index.place;
  step->out = out.place;
  builder.emit(std::move(step), {index.place, out.place}, node.path);
  builder.bind(node.output, out);
}

}  // namespace

const Lowering kLowerPool = lower_pool;
const Lowering kLowerMean = lower_mean;
const Lowering kLowerEmbedding = lower_embedding;

}  // namespace fd
