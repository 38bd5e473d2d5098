#include "plan/builder.h"

#include <algorithm>
#include <memory>

#include "core/error.h"
#include "cpu/elementwise.h"
#include "plan/place_buffers.h"
#include "plan/views.h"

namespace fd {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// What to do where strides cannot say it: move the elements.
class CopyStep : public Step {
 public:
  CopyStep(const Tensor& from, const Tensor& to) : from_(from), to_(to), extent_(to.extent()) {}

  void run(const Frame& frame) const override {
    copy(frame.samples, extent_, const_view(from_, frame), view(to_, frame), frame.share,
         frame.isa);
  }
  std::string describe(int) const override { return "copy"; }

 private:
  Tensor from_, to_;
  Extent extent_;
};

}  // namespace

Builder::Builder(const Program& program, Plan& plan)
    : program_(program),
      plan_(plan),
      tensors_(program.values.size()),
      last_use_(program.values.size(), -1),
      slices_(program.values.size()),
      concats_(program.nodes.size()) {}

void Builder::build() {
  for (std::size_t i = 0; i < program_.values.size(); ++i) {
    const Value& value = program_.values[i];
    if (value.constant == nullptr) continue;
    Tensor tensor;
    tensor.place.kind = Place::constant;
    tensor.place.constant_data = value.constant;
    tensor.size.assign(value.shape.begin(), value.shape.end());
    tensor.stride = row_major(tensor.size);
    tensors_[i] = tensor;
  }
  for (std::size_t i = 0; i < program_.inputs.size(); ++i) {
    Tensor tensor;
    tensor.place.kind = Place::input;
    tensor.place.index = static_cast<int>(i);
    tensor.size = size_of(program_.inputs[i]);
    tensor.stride = row_major(tensor.size);
    plan_.input_names_.push_back(program_.values[at(program_.inputs[i])].name);
    plan_.input_floats_.push_back(tensor.elements());
    bind(program_.inputs[i], tensor);
  }
  find_last_uses();
  find_concats();
  for (std::size_t i = 0; i < program_.nodes.size(); ++i) lower(i);
  for (std::size_t i = 0; i < program_.outputs.size(); ++i) {
    const Tensor& from = bound(program_.outputs[i]);
    Tensor to;
    to.place.kind = Place::output;
    to.place.index = static_cast<int>(i);
    to.size = from.size;
    to.stride = row_major(to.size);
    plan_.output_names_.push_back(program_.values[at(program_.outputs[i])].name);
    plan_.output_floats_.push_back(to.elements());
    copy_into(from, to, "");
  }
  plan_.arena_floats_ = fd::place_buffers(plan_.buffers_);
}

void Builder::lower(std::size_t index) {
  node_ = index;
  const Node& node = program_.nodes[index];
  const Value& out = program_.values[at(node.output)];
  if (!out.batched) refuse(node, "a value without a batch that is no constant");
  lowering_of(node.op)(*this, node);
  // Whatever the lowering has not taken care of would be lost silently.
  if (bound(node.output).place.kind == Place::none) refuse(node, "no kernel");
}

void Builder::find_last_uses() {
  for (std::size_t i = 0; i < program_.nodes.size(); ++i) {
    for (int value : program_.nodes[i].inputs) {
      if (value >= 0) last_use_[at(value)] = static_cast<int>(i);
    }
  }
  for (int value : program_.outputs) last_use_[at(value)] = static_cast<int>(program_.nodes.size());
}

// Values that go into a concatenation of channels are made in its memory, each in the first that
// reads it; what cannot be (a view of something else, an input) is copied there.
void Builder::find_concats() {
  for (std::size_t i = 0; i < program_.nodes.size(); ++i) {
    const Node& node = program_.nodes[i];
    if (node.op != Op::concat || node.dim != 1) continue;
    if (output_size(node).size() != 3) continue;  // images alone have their channels adjacent
    std::ptrdiff_t channel = 0;
    std::vector<int> sorted = node.inputs;  // there may be very many
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      Slice& slice = slices_[at(node.inputs[k])];
      const auto [same, end] = std::equal_range(sorted.begin(), sorted.end(), node.inputs[k]);
      const bool twice = end - same > 1;
      if (slice.concat < 0 && !twice) slice = {static_cast<int>(i), channel};
      const Value& value = program_.values[at(node.inputs[k])];
      channel += value.batched ? value.shape[0] : value.shape[1];
    }
  }
}

Tensor Builder::concat_output(const Node& node) {
  if (node.dim != 1 || output_size(node).size() != 3) return row_major_output(node);
  return concat_tensor(static_cast<int>(node_));
}

const Tensor& Builder::concat_tensor(int node) {
  Tensor& tensor = concats_[at(node)];
  if (tensor.place.kind == Place::none) {
    const Sizes size = output_size(program_.nodes[at(node)]);
    tensor = allocate(size, channels_last(size));
  }
  return tensor;
}

bool Builder::is_in_place(int value, const Tensor& concat) const {
  const Slice& slice = slices_[at(value)];
  const Place& place = bound(value).place;
  return slice.concat == static_cast<int>(node_) && place.kind == Place::arena &&
         place.index == concat.place.index && place.offset == slice.channel &&
         bound(value).stride == concat.stride;
}

Sizes Builder::size_of(int value) const {
  const auto& shape = program_.values[at(value)].shape;
  return Sizes(shape.begin(), shape.end());
}

Sizes Builder::output_size(const Node& node) const { return size_of(node.output); }

Sizes Builder::epilogue_size(const Node& node) const {
  Sizes size = output_size(node);
  if (node.op != Op::conv2d) return size;
  for (std::size_t k = 0; k < 2; ++k) size[1 + k] *= node.pool_window[k];
  return size;
}

bool Builder::has_input(const Node& node, std::size_t i) const {
  return i < node.inputs.size() && node.inputs[i] >= 0;
}

Tensor Builder::input(const Node& node, std::size_t i) const {
  const Value& value = program_.values[at(node.inputs[i])];
  Tensor tensor = bound(node.inputs[i]);
  const std::size_t full = program_.values[at(node.output)].shape.size() + 1;
  if (!value.batched && tensor.size.size() == full && tensor.size[0] == 1) {
    tensor.size.erase(tensor.size.begin());
    tensor.stride.erase(tensor.stride.begin());
  }
  return tensor;
}

const float* Builder::constant_input(const Node& node, std::size_t i, const char* what) const {
  if (!has_input(node, i)) return nullptr;
  const float* data = program_.values[at(node.inputs[i])].constant;
  if (data == nullptr) refuse(node, std::string("a ") + what + " that is no constant");
  return data;
}

Tensor Builder::allocate(const Sizes& size, const Sizes& stride) {
  Tensor tensor{{}, size, stride};
  Buffer buffer;
  // Samples start on a cache line of their own.
  buffer.floats = (std::max<std::ptrdiff_t>(tensor.elements(), 1) + 15) / 16 * 16;
  buffer.first = buffer.last = static_cast<int>(plan_.steps_.size());
  tensor.place.kind = Place::arena;
  tensor.place.index = static_cast<int>(plan_.buffers_.size());
  plan_.buffers_.push_back(buffer);
  return tensor;
}

Tensor Builder::new_output(const Node& node, bool channels_adjacent) {
  const Sizes size = output_size(node);
  const Slice& slice = slices_[at(node.output)];
  if (channels_adjacent && slice.concat >= 0 && size.size() == 3) {
    return sliced(concat_tensor(slice.concat), 0, slice.channel, size[0], 1);
  }
  return allocate(size, channels_adjacent ? channels_last(size) : row_major(size));
}

Tensor Builder::image_output(const Node& node) { return new_output(node, true); }

Tensor Builder::row_major_output(const Node& node) { return new_output(node, false); }

// Whether no view of the tensor's buffer is read after this node.
bool Builder::is_free_after(const Tensor& tensor, std::size_t node) const {
  if (tensor.place.kind != Place::arena) return false;
  for (const Tensor& concat : concats_) {
    if (concat.place.kind == Place::arena && concat.place.index == tensor.place.index) return false;
  }
  for (std::size_t value = 0; value < tensors_.size(); ++value) {
    const Place& place = tensors_[value].place;
    if (place.kind == Place::arena && place.index == tensor.place.index &&
        last_use_[value] > static_cast<int>(node)) {
      return false;
    }
  }
  return true;
}

// Whether the node reads the tensor's buffer in another way than element for element with its
// output: through another view, or in its epilogue, when the output is there already.
bool Builder::reads_otherwise(const Node& node, const Tensor& tensor) const {
  const auto shares = [&](const Tensor& other) {
    return other.place.kind == tensor.place.kind && other.place.index == tensor.place.index;
  };
  for (const NodeEpilogue& step : node.epilogue) {
    if (step.kind != EpilogueStep::unary && shares(bound(node.inputs[at(step.input)]))) return true;
  }
  for (int value : node.inputs) {
    if (value < 0) continue;
    const Tensor& other = bound(value);
    const bool same = other.place.offset == tensor.place.offset && other.size == tensor.size &&
                      other.stride == tensor.stride;
    if (shares(other) && !same) return true;
  }
  return false;
}

Tensor Builder::output_like(const Node& node, const Tensor& like, int value) {
  const Sizes size = output_size(node);
  if (slices_[at(node.output)].concat >= 0 && size.size() == 3) return image_output(node);
  const bool whole = like.size == size && like.dense_in_some_order();
  if (whole && value >= 0 && is_free_after(like, node_) && !reads_otherwise(node, like)) {
    return like;
  }
  if (whole) return allocate(size, like.stride);
  return size.size() == 3 ? image_output(node) : row_major_output(node);
}

void Builder::copy_into(const Tensor& from, const Tensor& to, const std::string& path) {
  emit(std::make_unique<CopyStep>(from, to), {from.place, to.place}, path);
}

Tensor Builder::copied(const Tensor& from, const Sizes& stride, const std::string& path) {
  const Tensor to = allocate(from.size, stride);
  copy_into(from, to, path);
  return to;
}

Tensor Builder::with_adjacent(const Tensor& tensor, int dim, const std::string& path) {
  const std::size_t d = at(dim);
  if (tensor.size[d] == 1 || tensor.stride[d] == 1) return tensor;
  Sizes stride(tensor.size.size());
  std::ptrdiff_t step = tensor.size[d];
  stride[d] = 1;
  for (std::size_t k = tensor.size.size(); k-- > 0;) {
    if (k == d) continue;
    stride[k] = step;
    step *= tensor.size[k];
  }
  return copied(tensor, stride, path);
}

Tensor Builder::dense(const Tensor& tensor, const std::string& path) {
  return tensor.dense() ? tensor : copied(tensor, row_major(tensor.size), path);
}

Tensor Builder::reshaped_or_copied(const Tensor& tensor, const Sizes& size,
                                   const std::string& path) {
  Tensor view;
  if (reshaped(tensor, size, &view)) return view;
  reshaped(dense(tensor, path), size, &view);
  return view;
}

PlannedImage Builder::as_image(const Tensor& tensor, const Axes& axes) {
  PlannedImage image;
  image.place = tensor.place;
  image.channels = static_cast<int>(tensor.size[at(axes.channel)]);
  if (axes.row >= 0) {
    image.height = static_cast<int>(tensor.size[at(axes.row)]);
    image.row = tensor.stride[at(axes.row)];
  }
  if (axes.pixel >= 0) {
    image.width = static_cast<int>(tensor.size[at(axes.pixel)]);
    image.pixel = tensor.stride[at(axes.pixel)];
  }
  return image;
}

PlannedImage Builder::image(const Tensor& tensor, const std::string& path) {
  const Axes axes{tensor.rank() > 2 ? 1 : -1, tensor.rank() > 1 ? tensor.rank() - 1 : -1, 0};
  return as_image(with_adjacent(tensor, 0, path), axes);
}

PlannedOperand Builder::operand(Tensor tensor, const Sizes& size, const Sizes& shape,
                                const Axes& axes, const std::string& path) {
  tensor = broadcast_to(tensor, size);
  if (shape != size) tensor = reshaped_or_copied(tensor, shape, path);
  const std::size_t c = at(axes.channel);
  if (tensor.size[c] == 1) {
    tensor.stride[c] = 0;
  } else if (tensor.stride[c] != 0) {
    tensor = with_adjacent(tensor, axes.channel, path);
  }
  PlannedOperand operand;
  operand.place = tensor.place;
  operand.channel = tensor.stride[c];
  if (axes.row >= 0) operand.row = tensor.stride[at(axes.row)];
  if (axes.pixel >= 0) operand.pixel = tensor.stride[at(axes.pixel)];
  return operand;
}

PlannedEpilogue Builder::epilogue(const Node& node, const Sizes& shape, const Axes& axes) {
  PlannedEpilogue planned;
  for (const NodeEpilogue& entry : node.epilogue) {
    PlannedEpilogueStep step;
    step.kind = entry.kind;
    step.function = entry.function;
    if (entry.kind != EpilogueStep::unary) {
      step.operand =
          operand(input(node, at(entry.input)), epilogue_size(node), shape, axes, node.path);
    }
    planned.steps.push_back(step);
  }
  if (planned.steps.size() > at(kMaxEpilogue)) {
    refuse(node, "more than " + std::to_string(kMaxEpilogue) + " steps in an epilogue");
  }
  return planned;
}

float* Builder::new_constant(std::size_t floats) {
  plan_.constants_.push_back(std::make_unique<float[]>(floats));
  return plan_.constants_.back().get();
}

void Builder::emit(std::unique_ptr<Step> step, const std::vector<Place>& touched,
                   const std::string& path) {
  const int now = static_cast<int>(plan_.steps_.size());
  for (const Place& place : touched) {
    if (place.kind != Place::arena) continue;
    Buffer& buffer = plan_.buffers_[at(place.index)];
    buffer.first = std::min(buffer.first, now);
    buffer.last = std::max(buffer.last, now);
  }
  step->path = path;
  plan_.steps_.push_back(std::move(step));
}

void Builder::refuse(const Node& node, const std::string& why) const {
  throw InvalidArgument("model: expected what the native backend has kernels for, got " + why +
                        " in " + op_name(node.op) + " at " +
                        (node.path.empty() ? "the top module" : node.path) +
                        " (backend 'eager' can run it)");
}

}  // namespace fd
