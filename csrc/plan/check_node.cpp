// Whether a node's inputs are what its op takes, and its output what the op makes of them.
#include "core/error.h"
#include "core/json.h"
#include "ops/shape_rules.h"
#include "plan/read_program.h"

namespace fd {
namespace {

// What an op takes: inputs at fixed places, of which the last `optional` may be absent.
struct Signature {
  std::size_t inputs = 1, optional = 0;
  int constants_from = 99;  // inputs from this place on are constants
  bool any_dtype = false;   // int64 goes through it
  bool takes_epilogue = false;
};

Signature signature(Op op) {
  switch (op) {
    case Op::conv2d:
    case Op::conv_transpose2d:
    case Op::linear:
      return {3, 1, 1, false, true};
    case Op::group_norm:
    case Op::layer_norm:
      return {3, 2, 1, false, true};
    case Op::matmul:
    case Op::binary:
      return {2, 0, 99, false, true};
    case Op::unary:
    case Op::pool:
      return {1, 0, 99, false, true};
    case Op::attention:
      return {3, 0, 99, false, false};
    case Op::concat:
    case Op::slice:
    case Op::reshape:
    case Op::broadcast:
    case Op::cast:
      return {1, 0, 99, true, false};
    case Op::embedding:
      return {2, 0, 99, true, false};  // table, index: checked below
    case Op::permute:
    case Op::mean:
    case Op::upsample:
    case Op::pixel_shuffle:
    case Op::pixel_unshuffle:
    case Op::softmax:
      return {};
  }
  return {};
}

Dims dims_of(const Value& value) {
  Dims dims = value.shape;
  if (value.batched) dims.insert(dims.begin(), kBatch);
  return dims;
}

const char* dtype_name(DType dtype) { return dtype == DType::int64 ? "int64" : "float32"; }

Window window_of(const Node& node) {
  Window window;
  for (int k = 0; k < 2; ++k) {
    window.kernel[k] = node.kernel[k];
    window.stride[k] = node.stride[k];
    window.padding[k] = node.padding[k];
    window.more[k] = node.more[k];
    window.output_padding[k] = node.output_padding[k];
    window.dilation[k] = node.dilation[k];
  }
  window.groups = node.groups;
  return window;
}

// The op's rule applied to the shapes of its inputs; before the pool that may be behind it.
Dims output_dims(const Node& node, const std::vector<Dims>& in, const Dims& shape) {
  const auto optional = [&](std::size_t k) { return node.inputs[k] < 0 ? nullptr : &in[k]; };
  switch (node.op) {
    case Op::conv2d:
      return conv2d_dims(in[0], in[1], optional(2), window_of(node));
    case Op::conv_transpose2d:
      return conv_transpose2d_dims(in[0], in[1], optional(2), window_of(node));
    case Op::linear:
      return linear_dims(in[0], in[1], optional(2));
    case Op::matmul:
      return matmul_dims(in[0], in[1]);
    case Op::group_norm:
      return group_norm_dims(in[0], optional(1), optional(2), node.groups);
    case Op::layer_norm:
      return layer_norm_dims(in[0], optional(1), optional(2), node.normalized_dims);
    case Op::unary:
    case Op::cast:
      return in[0];
    case Op::binary:
      return binary_dims(in[0], in[1]);
    case Op::concat:
      return concat_dims(in, node.dim);
    case Op::slice:
      return slice_dims(in[0], node.dim, node.start, node.stop, node.step);
    case Op::reshape:
      return reshape_dims(in[0], shape);
    case Op::permute:
      return permute_dims(in[0], node.dims);
    case Op::broadcast:
      return broadcast_dims(in[0], shape);
    case Op::pool:
      return pool_dims(in[0], window_of(node));
    case Op::mean:
      return mean_dims(in[0], node.dims, node.keep);
    case Op::upsample: {
      const std::int64_t scale[2] = {node.scale[0], node.scale[1]};
      return upsample_dims(in[0], scale);
    }
    case Op::pixel_shuffle:
      return pixel_shuffle_dims(in[0], node.factor);
    case Op::pixel_unshuffle:
      return pixel_unshuffle_dims(in[0], node.factor);
    case Op::softmax:
      return softmax_dims(in[0], node.dim);
    case Op::attention:
      return attention_dims(in[0], in[1], in[2]);
    case Op::embedding:
      return embedding_dims(in[0], in[1]);
  }
  return {};
}

void check_dtypes(const Program& program, const Node& node, const Signature& takes) {
  const auto dtype = [&](int value) {
    return program.values[static_cast<std::size_t>(value)].dtype;
  };
  const auto expect = [](const char* name, DType expected, DType got) {
    if (got != expected) fail_argument(name, dtype_name(expected), dtype_name(got));
  };
  DType out = DType::float32;
  if (node.op == Op::embedding) {
    expect("table", DType::float32, dtype(node.inputs[0]));
    expect("index", DType::int64, dtype(node.inputs[1]));
  } else if (node.op == Op::cast) {
    out = node.dtype;
  } else {
    if (takes.any_dtype) out = dtype(node.inputs[0]);
    for (const int input : node.inputs) {
      if (input >= 0) expect("inputs", out, dtype(input));
    }
  }
  expect("output", out, dtype(node.output));
}

void check_inputs(const Program& program, const Node& node, const Signature& takes,
                  std::size_t own) {
  if (node.op == Op::concat ? own < 1 : own != takes.inputs) {
    fail_argument("inputs", std::to_string(takes.inputs) + " before those of the epilogue",
                  std::to_string(own));
  }
  const std::size_t needed = node.op == Op::concat ? own : takes.inputs - takes.optional;
  for (std::size_t k = 0; k < node.inputs.size(); ++k) {
    const std::string name = "inputs[" + std::to_string(k) + "]";
    if (node.inputs[k] < 0) {
      if (k < needed || k >= own) fail_argument(name, "a value", "none");
      continue;
    }
    const Value& value = program.values[static_cast<std::size_t>(node.inputs[k])];
    const bool weight = k < own && (static_cast<int>(k) >= takes.constants_from ||
                                    (node.op == Op::embedding && k == 0));
    if (weight && value.constant == nullptr) {
      fail_argument(name, "a constant", quoted(value.name));
    }
  }
}

void check_epilogue(const Program& program, const Node& node, const Signature& takes,
                    std::size_t own, const Dims& out) {
  if (!node.epilogue.empty() && !takes.takes_epilogue) {
    fail_argument("epilogue", std::string("none behind ") + op_name(node.op), "one");
  }
  std::size_t next = own;
  for (const NodeEpilogue& step : node.epilogue) {
    if (step.kind == EpilogueStep::unary) continue;
    if (step.input < 0 || static_cast<std::size_t>(step.input) != next) {
      fail_argument("epilogue", "the operands behind the op's own inputs, in their order",
                    "input " + std::to_string(step.input));
    }
    const Dims operand = dims_of(program.values[static_cast<std::size_t>(node.inputs[next])]);
    if (!broadcasts_to(operand, out)) {
      fail_argument("epilogue", "an operand that broadcasts to " + dims_text(out),
                    dims_text(operand));
    }
    ++next;
  }
}

}  // namespace

std::size_t own_inputs(const Node& node) {
  std::size_t operands = 0;
  for (const NodeEpilogue& step : node.epilogue) operands += step.kind != EpilogueStep::unary;
  if (operands > node.inputs.size()) {
    fail_argument("epilogue", "an input for every operand", std::to_string(node.inputs.size()));
  }
  return node.inputs.size() - operands;
}

void check_node(const Program& program, const Node& node, const std::vector<std::int64_t>& shape) {
  const Signature takes = signature(node.op);
  const std::size_t own = own_inputs(node);
  check_inputs(program, node, takes, own);
  check_dtypes(program, node, takes);
  std::vector<Dims> in;
  for (std::size_t k = 0; k < own; ++k) {
    const int input = node.inputs[k];
    in.push_back(input < 0 ? Dims() : dims_of(program.values[static_cast<std::size_t>(input)]));
  }
  count_elements("shape", shape);
  const Dims made = output_dims(node, in, shape);
  const Dims out = tiled_pool_dims(made, node.pool_window);
  const Dims declared = dims_of(program.values[static_cast<std::size_t>(node.output)]);
  if (out != declared) fail_argument("output", dims_text(out), dims_text(declared));
  check_epilogue(program, node, takes, own, made);
}

}  // namespace fd
