// Attention, softmax and products of two activations.

#include <memory>

#include "cpu/attention.h"
#include "cpu/elementwise.h"
#include "plan/builder.h"
#include "plan/lowerings.h"
#include "plan/views.h"

namespace fd {
namespace {

class AttentionStep : public Step {
 public:
  AttentionCall shape;
  Tensor q, k, v, out;  // [heads, tokens, width]

  static Heads heads(const Tensor& tensor, const Frame& frame) {
    const Bound bound = frame.at(tensor.place);
    return {bound.data, bound.sample, tensor.stride[0], tensor.stride[1]};
  }
  void run(const Frame& frame) const override {
    AttentionCall call = shape;
    call.samples = frame.samples;
    call.q = heads(q, frame), call.k = heads(k, frame), call.v = heads(v, frame);
    const Bound to = frame.at(out.place);
    call.out = to.data;
    call.out_sample = to.sample;
    call.out_head = out.stride[0], call.out_token = out.stride[1];
    call.share = frame.share;
    call.scratch = frame.scratch;
    attention(call, frame.isa);
  }
  std::size_t scratch_floats(int samples) const override {
    AttentionCall call = shape;
    call.samples = samples;
    return attention_scratch_floats(call);
  }
  std::string describe(int) const override {
    return "attention of " + std::to_string(shape.queries) + " to " + std::to_string(shape.keys) +
           ", " + std::to_string(shape.heads) + " heads of " + std::to_string(shape.width);
  }
  double flops() const override {
    return 2.0 * shape.heads * shape.queries * shape.keys * (shape.width + shape.value_width);
  }
};

class SoftmaxStep : public Step {
 public:
  SoftmaxCall shape;
  Tensor in, out;  // [rows, length]
  void run(const Frame& frame) const override {
    SoftmaxCall call = shape;
    const Bound from = frame.at(in.place), to = frame.at(out.place);
    call.samples = frame.samples;
    call.in = from.data, call.in_sample = from.sample;
    call.out = to.data, call.out_sample = to.sample;
    call.share = frame.share;
    softmax(call, frame.isa);
  }
  std::string describe(int) const override { return "softmax"; }
};

class MatmulStep : public Step {
 public:
  MatmulStep(const Tensor& a, const Tensor& b, const Tensor& out, std::ptrdiff_t inner)
      : a_(a), b_(b), out_(out), extent_(out.extent()), inner_(inner) {}
  void run(const Frame& frame) const override {
    matmul(frame.samples, extent_, inner_, const_view(a_, frame), const_view(b_, frame),
           view(out_, frame), frame.share, frame.isa);
  }
  std::string describe(int) const override { return "matmul"; }
  double flops() const override {
    return 2.0 * static_cast<double>(out_.elements()) * static_cast<double>(inner_);
  }

 private:
  Tensor a_, b_, out_;
  Extent extent_;
  std::ptrdiff_t inner_;
};

// [N, D] or [heads, N, D] with D adjacent, as [heads, N, D].
Tensor heads_of(Builder& builder, const Node& node, std::size_t i) {
  Tensor tensor = builder.input(node, i);
  if (tensor.rank() < 2 || tensor.rank() > 3) {
    builder.refuse(node, "attention on other than [heads, tokens, width]");
  }
  if (tensor.rank() == 2) {
    tensor.size.insert(tensor.size.begin(), 1);
    tensor.stride.insert(tensor.stride.begin(), 0);
  }
  return builder.with_adjacent(tensor, 2, node.path);
}

void lower_attention(Builder& builder, const Node& node) {
  auto step = std::make_unique<AttentionStep>();
  step->q = heads_of(builder, node, 0);
  step->k = heads_of(builder, node, 1);
  step->v = heads_of(builder, node, 2);
  AttentionCall& shape = step->shape;
  shape.heads = static_cast<int>(step->q.size[0]);
  shape.queries = static_cast<int>(step->q.size[1]);
  shape.keys = static_cast<int>(step->k.size[1]);
  shape.width = static_cast<int>(step->q.size[2]);
  shape.value_width = static_cast<int>(step->v.size[2]);
  shape.scale = static_cast<float>(node.attention_scale);
  // Tokens first: joining the heads again then moves nothing.
  const std::ptrdiff_t heads = shape.heads, width = shape.value_width;
  const Sizes size{heads, shape.queries, width};
  const Tensor out = builder.allocate(size, {width, heads * width, 1});
  step->out = out;
  const std::vector<Place> touched{step->q.place, step->k.place, step->v.place, out.place};
  builder.emit(std::move(step), touched, node.path);
  Tensor bound = out;
  if (builder.output_size(node).size() == 2) {
    bound.size.erase(bound.size.begin());
    bound.stride.erase(bound.stride.begin());
  }
  builder.bind(node.output, bound);
}

void lower_softmax(Builder& builder, const Node& node) {
  const Tensor from = builder.input(node, 0);
  const int last = from.rank() - 1, dim = node.dim - 1;
  std::vector<int> order;  // dim last, and its own inverse
  for (int d = 0; d <= last; ++d) order.push_back(d == dim ? last : d == last ? dim : d);
  const Tensor in = builder.dense(permuted(from, order), node.path);
  const Tensor out = builder.allocate(in.size, row_major(in.size));
  auto step = std::make_unique<SoftmaxStep>();
  step->shape.length = in.size.back();
  step->shape.rows = in.elements() / std::max<std::ptrdiff_t>(1, in.size.back());
  step->shape.in_stride = step->shape.out_stride = in.size.back();
  step->in = in;
  step->out = out;
  builder.emit(std::move(step), {in.place, out.place}, node.path);
  builder.bind(node.output, permuted(out, order));
}

void lower_matmul(Builder& builder, const Node& node) {
  const Sizes size = builder.output_size(node);
  Tensor a = builder.input(node, 0), b = builder.input(node, 1);
  if (a.rank() < 2 || b.rank() < 2) builder.refuse(node, "a product with a vector");
  const std::ptrdiff_t inner = a.size.back();
  const auto spread = [&](Tensor& tensor) {
    Sizes wanted(size.begin(), size.end() - 2);
    wanted.insert(wanted.end(), tensor.size.end() - 2, tensor.size.end());
    tensor = broadcast_to(tensor, wanted);
  };
  spread(a);
  spread(b);
  const Tensor out = builder.row_major_output(node);
  builder.emit(std::make_unique<MatmulStep>(a, b, out, inner), {a.place, b.place, out.place},
               node.path);
  builder.apply_epilogue_after(node, out);
  builder.bind(node.output, out);
}

}  // namespace

const Lowering kLowerAttention = lower_attention;
const Lowering kLowerSoftmax = lower_softmax;
const Lowering kLowerMatmul = lower_matmul;

}  // namespace fd
