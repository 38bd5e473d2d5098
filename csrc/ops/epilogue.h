// What happens to an op's output before it is written. Plain data: files that are compiled for
// wider instruction sets include this header, so it holds no inline code.
#pragma once

#include <cstddef>

namespace fd {

enum class Unary : int {
  relu,
  gelu,
  gelu_tanh,
  silu,
  sigmoid,
  tanh,
  elu,  // activations; elu with alpha = 1
  exp,
  log,
  sin,
  cos,
  sqrt,
  rsqrt,
  neg,
  abs,
};
constexpr int kUnaryKinds = static_cast<int>(Unary::abs) + 1;
enum class Binary : int { add, sub, mul, div, pow };

// A tensor that is read in step with an image: element (sample s, row y, column x, channel c) is
// data[s * sample + y * row + x * pixel + c * channel]; strides in elements, 0 where it is the same
// along a dimension. `channel` is 0 or 1.
struct Operand {
  const float* data = nullptr;
  std::ptrdiff_t sample = 0, row = 0, pixel = 0, channel = 0;
};

struct EpilogueStep {
  enum Kind : int { unary, add, mul };
  Kind kind = unary;
  Unary function = Unary::relu;  // where kind is unary
  Operand operand;               // where it is not
};

constexpr int kMaxEpilogue = 8;

// Steps in the order in which they are applied.
struct Epilogue {
  int count = 0;
  EpilogueStep steps[kMaxEpilogue];
};

}  // namespace fd
