// Group norm and layer norm.

#include <memory>

#include "cpu/norm.h"
#include "plan/builder.h"
#include "plan/lowerings.h"

namespace fd {
namespace {

class NormStep : public Step {
 public:
  PlannedImage in, out;
  PlannedOperand gamma, beta;
  PlannedEpilogue epilogue;
  int groups = 1;
  float eps = 0;

  NormCall call(int samples) const {
    NormCall norm;
    norm.samples = samples;
    norm.height = in.height, norm.width = in.width, norm.channels = in.channels;
    norm.groups = groups;
    norm.eps = eps;
    return norm;
  }
  void run(const Frame& frame) const override {
    NormCall norm = call(frame.samples);
    const Epilogue bound = epilogue.bind(frame);
    norm.in = in.in(frame);
    norm.out = out.out(frame);
    if (gamma.place.kind != Place::none) norm.gamma = gamma.bind(frame);
    if (beta.place.kind != Place::none) norm.beta = beta.bind(frame);
    norm.epilogue = bound.count > 0 ? &bound : nullptr;
    norm.share = frame.share;
    norm.scratch = frame.scratch;
    fd::norm(norm, frame.isa);
  }
  std::size_t scratch_floats(int samples) const override {
    return norm_scratch_floats(call(samples));
  }
  std::string describe(int) const override {
    const std::string over = groups == 0 ? "each pixel" : std::to_string(groups) + " groups";
    return "norm of " + over + " at " + std::to_string(out.height) + "x" +
           std::to_string(out.width) + "x" + std::to_string(out.channels);
  }
};

void emit_norm(Builder& builder, const Node& node, const Tensor& x, const Tensor& to,
               const Sizes& shape, const Axes& axes, int groups, const Sizes& affine_size) {
  auto step = std::make_unique<NormStep>();
  step->in = Builder::as_image(x, axes);
  step->out = Builder::as_image(to, axes);
  step->groups = groups;
  step->eps = static_cast<float>(node.eps);
  std::vector<Place> touched{step->in.place, step->out.place};
  for (std::size_t i = 1; i <= 2; ++i) {
    if (!builder.has_input(node, i)) continue;
    Tensor affine = builder.input(node, i);
    Tensor view;
    if (!reshaped(affine, affine_size, &view)) builder.refuse(node, "an affine of another shape");
    (i == 1 ? step->gamma : step->beta) = builder.operand(view, shape, shape, axes, node.path);
    touched.push_back((i == 1 ? step->gamma : step->beta).place);
  }
  step->epilogue = builder.epilogue(node, shape, axes);
  for (const PlannedEpilogueStep& entry : step->epilogue.steps) {
    touched.push_back(entry.operand.place);
  }
  builder.emit(std::move(step), touched, node.path);
}

// [C], [C, N] or [C, H, W]: gamma and beta [C].
void group_norm(Builder& builder, const Node& node) {
  const Tensor from = builder.input(node, 0);
  if (from.rank() > 3) builder.refuse(node, "a group norm of more than two dimensions of pixels");
  const Axes axes{from.rank() > 2 ? 1 : -1, from.rank() > 1 ? from.rank() - 1 : -1, 0};
  const Tensor x = builder.with_adjacent(from, 0, node.path);
  const Tensor to = builder.image_output(node);
  Sizes affine(to.size.size(), 1);
  affine[0] = to.size[0];
  emit_norm(builder, node, x, to, to.size, axes, node.groups, affine);
  builder.bind(node.output, to);
}

// Over the whole of a sample with channels adjacent: one group, gamma an element.
void norm_of_all(Builder& builder, const Node& node, const Tensor& x) {
  const Axes axes{1, 2, 0};
  const Tensor to = builder.image_output(node);
  emit_norm(builder, node, x, to, to.size, axes, 1, to.size);
  builder.bind(node.output, to);
}

// Over the last dimensions, row-major: they are the channels of a row of pixels.
void layer_norm(Builder& builder, const Node& node) {
  const Tensor from = builder.input(node, 0);
  const int rank = from.rank(), over = node.normalized_dims;
  if (over > rank) builder.refuse(node, "a layer norm over the batch");
  if (rank == 3 && over == 3 && !from.dense()) {
    norm_of_all(builder, node, builder.with_adjacent(from, 0, node.path));
    return;
  }
  std::ptrdiff_t length = 1, rows = 1;
  for (int d = 0; d < rank; ++d) {
    (d < rank - over ? rows : length) *= from.size[static_cast<std::size_t>(d)];
  }
  const Sizes shape{rows, length};
  const Axes axes{-1, 0, 1};
  const Tensor x =
      builder.with_adjacent(builder.reshaped_or_copied(from, shape, node.path), 1, node.path);
  const Tensor to = builder.row_major_output(node);
  emit_norm(builder, node, x, builder.reshaped_or_copied(to, shape, node.path), shape, axes, 0,
            Sizes{1, length});
  builder.bind(node.output, to);
}

void lower_norm(Builder& builder, const Node& node) {
  if (node.op == Op::group_norm) {
    group_norm(builder, node);
  } else {
    layer_norm(builder, node);
  }
}

}  // namespace

const Lowering kLowerNorm = lower_norm;

}  // namespace fd
