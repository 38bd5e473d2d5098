// Turns a program into a plan, node by node. Each op has a lowering in plan/lower_<family>.cpp;
// what they share is here: where values are, memory for new ones, copies where a kernel needs
// another layout, epilogues.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plan/plan.h"
#include "plan/program.h"
#include "plan/step.h"
#include "plan/tensor.h"

namespace fd {

using Sizes = std::vector<std::ptrdiff_t>;

// Which dimensions of a value an image's rows, pixels and channels are; -1: it has none.
struct Axes {
  int row = -1, pixel = -1, channel = -1;
};

class Builder {
 public:
  Builder(const Program& program, Plan& plan);
  void build();

  const Program& program() const { return program_; }
  const PlanOptions& options() const { return plan_.options_; }

  // Input i of a node without its batch; a constant that has a first dimension of 1 in the batch's
  // place loses it.
  Tensor input(const Node& node, std::size_t i) const;
  bool has_input(const Node& node, std::size_t i) const;
  // The elements of an input that must be a constant; null where absent.
  const float* constant_input(const Node& node, std::size_t i, const char* what) const;
  // The output's shape without the batch.
  Sizes output_size(const Node& node) const;
  // What its epilogue works on: before the pool that may be behind it.
  Sizes epilogue_size(const Node& node) const;

  // Memory for a node's output, channels adjacent ([C, ...] values that images are made of) or
  // row-major; a concatenation's slice where it goes into one.
  Tensor image_output(const Node& node);
  Tensor row_major_output(const Node& node);
  Tensor allocate(const Sizes& size, const Sizes& stride);
  // The memory of input i, where nobody reads it any more and the output may replace it; the
  // output's own memory in the same order of dimensions otherwise.
  Tensor output_like(const Node& node, const Tensor& like, int value);

  // Steps that move elements.
  Tensor copied(const Tensor& from, const Sizes& stride, const std::string& path);
  void copy_into(const Tensor& from, const Tensor& to, const std::string& path);
  // The tensor itself or a copy of it, such that ...
  Tensor with_adjacent(const Tensor& tensor, int dim, const std::string& path);
  Tensor dense(const Tensor& tensor, const std::string& path);
  Tensor reshaped_or_copied(const Tensor& tensor, const Sizes& size, const std::string& path);

  // [C], [C, N] or [C, H, W] with channels adjacent, as an image.
  PlannedImage image(const Tensor& tensor, const std::string& path);
  static PlannedImage as_image(const Tensor& tensor, const Axes& axes);

  // A value that broadcasts against one of this size, in step with its image. `shape`: another
  // shape of the same elements that the axes are dimensions of.
  PlannedOperand operand(Tensor tensor, const Sizes& size, const Sizes& shape, const Axes& axes,
                         const std::string& path);
  PlannedEpilogue epilogue(const Node& node, const Sizes& shape, const Axes& axes);
  // The node's epilogue as steps of their own, in place.
  void apply_epilogue_after(const Node& node, const Tensor& out);

  // A constant of the plan's own.
  float* new_constant(std::size_t floats);

  // Adds a step; the tensors that it touches must be named, which is what lifetimes follow.
  void emit(std::unique_ptr<Step> step, const std::vector<Place>& touched, const std::string& path);
  void bind(int value, Tensor tensor) {
    tensors_[static_cast<std::size_t>(value)] = std::move(tensor);
  }
  const Tensor& bound(int value) const { return tensors_[static_cast<std::size_t>(value)]; }

  // The output of the concatenation being lowered, and whether a value was made in its place there.
  Tensor concat_output(const Node& node);
  bool is_in_place(int value, const Tensor& concat) const;

  [[noreturn]] void refuse(const Node& node, const std::string& why) const;

 private:
  struct Slice {
    int concat = -1;             // index of the concat's node, -1: none
    std::ptrdiff_t channel = 0;  // where in it
  };
  void find_concats();
  void find_last_uses();
  void place_buffers();
  void lower(std::size_t index);
  Tensor new_output(const Node& node, bool channels_adjacent);
  const Tensor& concat_tensor(int node);
  Sizes size_of(int value) const;
  bool is_free_after(const Tensor& tensor, std::size_t node) const;
  bool reads_otherwise(const Node& node, const Tensor& tensor) const;

  const Program& program_;
  Plan& plan_;
  std::vector<Tensor> tensors_;  // by value
  std::vector<int> last_use_;    // by value: the last node that reads it
  std::vector<Slice> slices_;    // by value
  std::vector<Tensor> concats_;  // by node: the whole, where it is allocated
  std::size_t node_ = 0;         // being lowered
};

// The lowering of an op: emits steps and binds node.output.
using Lowering = void (*)(Builder& builder, const Node& node);
Lowering lowering_of(Op op);

}  // namespace fd
