// A program as the executor gets it (fastdiff/program/ir.py): ops over values, checked in full when
// it is read, so that whoever plans it can trust every index and shape:
// - an op's own inputs have fixed places, those of its epilogue stand behind them in the epilogue's
//   order, and each is a constant, an input, or made by a node before;
// - every input and every node's output is batched, constants never are; no dimension is 0;
// - outputs are made by this program's nodes, each named once;
// - weights, biases, gammas, betas and embeddings' tables are constants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ops/elementwise_kinds.h"
#include "ops/epilogue.h"

namespace fd {

enum class Op : int {
  conv2d,
  conv_transpose2d,
  linear,
  matmul,
  group_norm,
  layer_norm,
  unary,
  binary,
  concat,
  slice,
  reshape,
  permute,
  broadcast,
  pool,
  mean,
  upsample,
  pixel_shuffle,
  pixel_unshuffle,
  softmax,
  attention,
  embedding,
  cast,
};

enum class DType : int { float32, int64 };

// `shape`: all dimensions, without the first where `batched` (that one is the batch).
struct Value {
  std::string name;
  DType dtype = DType::float32;
  bool batched = false;
  std::vector<std::int64_t> shape;
  // Constants: their elements, row-major, int64 ones converted. Null for all others. Owned by the
  // file that the program came from.
  const float* constant = nullptr;
};

const char* op_name(Op op);
const char* unary_name(Unary kind);
const char* binary_name(Binary kind);
// The one with that name, as ir.py writes it; false where there is none.
bool parse_op(const std::string& name, Op* op);
bool parse_unary(const std::string& name, Unary* kind);
bool parse_binary(const std::string& name, Binary* kind);

// One step of an epilogue: a function, or an operand among the node's inputs.
struct NodeEpilogue {
  EpilogueStep::Kind kind = EpilogueStep::unary;
  Unary function = Unary::relu;
  int input = -1;  // index into Node::inputs
};

// Attributes have the names and meanings of ir.py's OPS; those that an op lacks stay at their
// default. Dimensions (`dim`, `dims`, `permutation`, `shape`) count and hold the batch, as in
// ir.py; -1 stands for it in `shape`.
struct Node {
  Op op = Op::reshape;
  std::vector<int> inputs;  // indices of values, -1 where absent
  int output = -1;
  int stride[2] = {1, 1}, padding[2] = {0, 0}, output_padding[2] = {0, 0}, dilation[2] = {1, 1};
  int more[2] = {0, 0};  // padding at the end beyond that at the beginning, of a convolution
  int kernel[2] = {1, 1}, scale[2] = {1, 1};
  int pool_window[2] = {1, 1};  // conv2d: of the pool behind its epilogue; 1 by 1: none
  int groups = 1;
  int factor = 1;  // pixel_shuffle, pixel_unshuffle
  double eps = 0;
  double attention_scale = 1;  // attention
  Unary unary = Unary::relu;
  Binary binary = Binary::add;
  PoolKind pool = PoolKind::max;
  int dim = 0;                                 // concat, slice, softmax
  std::int64_t start = 0, stop = 0, step = 1;  // slice
  int normalized_dims = 1;                     // layer_norm: the last so many
  bool keep = false;                           // mean
  std::vector<int> dims;                       // permute: the permutation; mean: what it is over
  DType dtype = DType::float32;                // cast
  std::vector<NodeEpilogue> epilogue;
  std::string path;  // the module that it came from
};

struct Program {
  std::string name;
  std::vector<Value> values;
  std::vector<int> inputs, outputs;
  std::vector<Node> nodes;  // in an order in which they can be run

  bool empty() const { return nodes.empty(); }
};

}  // namespace fd
