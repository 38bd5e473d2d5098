// An epilogue on vectors that are still in registers or in the first cache (ops/epilogue.h).
// Included by the bodies after their vec_*.h; rules as in noise_body.h.
#pragma once

#include "cpu/simd/vector_math.h"
#include "ops/epilogue.h"

namespace fd {
namespace {

// Where a vector of channels stands in the output.
struct Place {
  std::ptrdiff_t sample, row, pixel;
};

template <F32 (*function)(F32)>
inline void map(F32* y, int count) {
  for (int i = 0; i < count; ++i) y[i] = function(y[i]);
}

inline void apply_unary(Unary function, F32* y, int count) {
  switch (function) {
    case Unary::relu:
      return map<relu>(y, count);
    case Unary::gelu:
      return map<gelu>(y, count);
    case Unary::gelu_tanh:
      return map<gelu_tanh>(y, count);
    case Unary::silu:
      return map<silu>(y, count);
    case Unary::sigmoid:
      return map<sigmoid>(y, count);
    case Unary::tanh:
      return map<tanh>(y, count);
    case Unary::exp:
      return map<exp>(y, count);
    case Unary::log:
      return map<log>(y, count);
    case Unary::sin:
      return map<sin>(y, count);
    case Unary::cos:
      return map<cos>(y, count);
    case Unary::sqrt:
      return map<sqrt>(y, count);
    case Unary::rsqrt:
      return map<rsqrt>(y, count);
    case Unary::neg:
      return map<neg>(y, count);
    case Unary::abs:
      return map<abs>(y, count);
  }
}

// An operand's `lanes` <= kLanes channels from `channel` on.
inline F32 load_operand(const Operand& operand, const Place& at, std::ptrdiff_t channel,
                        std::size_t lanes) {
  const float* from = operand.data + at.sample * operand.sample + at.row * operand.row +
                      at.pixel * operand.pixel + channel * operand.channel;
  if (operand.channel == 0) return set1(*from);
  return lanes == kLanes ? load(from) : load_partial(from, lanes);
}

// y[i], i < count: the `lanes` channels from `channel` on at at[i], through all steps.
inline void apply_epilogue(const Epilogue& epilogue, F32* y, const Place* at, int count,
                           std::ptrdiff_t channel, std::size_t lanes) {
  for (int k = 0; k < epilogue.count; ++k) {
    const EpilogueStep& step = epilogue.steps[k];
    switch (step.kind) {
      case EpilogueStep::unary:
        apply_unary(step.function, y, count);
        break;
      case EpilogueStep::add:
        for (int i = 0; i < count; ++i) {
          y[i] = add(y[i], load_operand(step.operand, at[i], channel, lanes));
        }
        break;
      case EpilogueStep::mul:
        for (int i = 0; i < count; ++i) {
          y[i] = mul(y[i], load_operand(step.operand, at[i], channel, lanes));
        }
        break;
    }
  }
}

}  // namespace
}  // namespace fd
