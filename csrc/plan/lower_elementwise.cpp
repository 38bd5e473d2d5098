// Unary and binary ops, casts, and epilogues that no kernel has taken in.

#include <memory>

#include "cpu/elementwise.h"
#include "plan/builder.h"
#include "plan/lowerings.h"
#include "plan/views.h"

namespace fd {
namespace {

class UnaryStep : public Step {
 public:
  UnaryStep(Unary kind, const Tensor& a, const Tensor& out)
      : kind_(kind), a_(a), out_(out), extent_(out.extent()) {}
  void run(const Frame& frame) const override {
    unary(kind_, frame.samples, extent_, const_view(a_, frame), view(out_, frame), frame.share,
          frame.isa);
  }
  std::string describe(int) const override { return "unary"; }

 private:
  Unary kind_;
  Tensor a_, out_;
  Extent extent_;
};

class BinaryStep : public Step {
 public:
  BinaryStep(Binary kind, const Tensor& a, const Tensor& b, const Tensor& out)
      : kind_(kind), a_(a), b_(b), out_(out), extent_(out.extent()) {}
  void run(const Frame& frame) const override {
    binary(kind_, frame.samples, extent_, const_view(a_, frame), const_view(b_, frame),
           view(out_, frame), frame.share, frame.isa);
  }
  std::string describe(int) const override { return "binary"; }

 private:
  Binary kind_;
  Tensor a_, b_, out_;
  Extent extent_;
};

class TruncateStep : public Step {
 public:
  TruncateStep(const Tensor& a, const Tensor& out) : a_(a), out_(out), extent_(out.extent()) {}
  void run(const Frame& frame) const override {
    truncate(frame.samples, extent_, const_view(a_, frame), view(out_, frame), frame.share,
             frame.isa);
  }
  std::string describe(int) const override { return "truncate"; }

 private:
  Tensor a_, out_;
  Extent extent_;
};

void emit_unary(Builder& builder, Unary kind, const Tensor& a, const Tensor& out,
                const std::string& path) {
  builder.emit(std::make_unique<UnaryStep>(kind, a, out), {a.place, out.place}, path);
}

void emit_binary(Builder& builder, Binary kind, const Tensor& a, const Tensor& b, const Tensor& out,
                 const std::string& path) {
  builder.emit(std::make_unique<BinaryStep>(kind, a, b, out), {a.place, b.place, out.place}, path);
}

void lower_unary(Builder& builder, const Node& node) {
  const Tensor a = builder.input(node, 0);
  const Tensor out = builder.output_like(node, a, node.inputs[0]);
  emit_unary(builder, node.unary, a, out, node.path);
  builder.apply_epilogue_after(node, out);
  builder.bind(node.output, out);
}

void lower_binary(Builder& builder, const Node& node) {
  const Sizes size = builder.output_size(node);
  const Tensor a = builder.input(node, 0), b = builder.input(node, 1);
  // As the operand lies that has the output's size; in its memory if it is free.
  const bool like_a = a.size == size;
  const Tensor& like = like_a ? a : b;
  const Tensor out = builder.output_like(node, like, node.inputs[like_a ? 0 : 1]);
  emit_binary(builder, node.binary, broadcast_to(a, size), broadcast_to(b, size), out, node.path);
  builder.apply_epilogue_after(node, out);
  builder.bind(node.output, out);
}

// Integers are held as floats: only the way to them changes anything.
void lower_cast(Builder& builder, const Node& node) {
  const Tensor a = builder.input(node, 0);
  const DType from = builder.program().values[static_cast<std::size_t>(node.inputs[0])].dtype;
  if (node.dtype == DType::float32 || from == DType::int64) {
    builder.bind(node.output, a);
    return;
  }
  const Tensor out = builder.output_like(node, a, node.inputs[0]);
  builder.emit(std::make_unique<TruncateStep>(a, out), {a.place, out.place}, node.path);
  builder.bind(node.output, out);
}

}  // namespace

void Builder::apply_epilogue_after(const Node& node, const Tensor& out) {
  for (const NodeEpilogue& entry : node.epilogue) {
    if (entry.kind == EpilogueStep::unary) {
      emit_unary(*this, entry.function, out, out, node.path);
    } else {
      const Tensor b = broadcast_to(input(node, static_cast<std::size_t>(entry.input)), out.size);
      const Binary kind = entry.kind == EpilogueStep::add ? Binary::add : Binary::mul;
      emit_binary(*this, kind, out, b, out, node.path);
    }
  }
}

const Lowering kLowerUnary = lower_unary;
const Lowering kLowerBinary = lower_binary;
const Lowering kLowerCast = lower_cast;

}  // namespace fd
