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

// Where a vector of channels goes when it is done: back to where it was, or to its pixel.
struct InPlace {
  F32* y;
  void operator()(int i, F32 value) const { y[i] = value; }
};
struct ToPixels {
  float* const* to;
  std::ptrdiff_t first;
  void operator()(int i, F32 value) const { store(to[i] + first, value); }
};

template <F32 (*function)(F32), class Sink>
inline void map(const F32* y, int count, const Sink& sink) {
  for (int i = 0; i < count; ++i) sink(i, function(y[i]));
}

template <class Sink>
inline void apply_unary(Unary function, const F32* y, int count, const Sink& sink) {
  switch (function) {
    case Unary::relu:
      return map<relu>(y, count, sink);
    case Unary::gelu:
      return map<gelu>(y, count, sink);
    case Unary::gelu_tanh:
      return map<gelu_tanh>(y, count, sink);
    case Unary::silu:
      return map<silu>(y, count, sink);
    case Unary::sigmoid:
      return map<sigmoid>(y, count, sink);
    case Unary::tanh:
      return map<tanh>(y, count, sink);
    case Unary::elu:
      return map<elu>(y, count, sink);
    case Unary::exp:
      return map<exp>(y, count, sink);
    case Unary::log:
      return map<log>(y, count, sink);
    case Unary::sin:
      return map<sin>(y, count, sink);
    case Unary::cos:
      return map<cos>(y, count, sink);
    case Unary::sqrt:
      return map<sqrt>(y, count, sink);
    case Unary::rsqrt:
      return map<rsqrt>(y, count, sink);
    case Unary::neg:
      return map<neg>(y, count, sink);
    case Unary::abs:
      return map<abs>(y, count, sink);
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

inline void apply_step(const EpilogueStep& step, F32* y, const Place* at, int count,
                       std::ptrdiff_t channel, std::size_t lanes) {
  const Operand& operand = step.operand;
  if (step.kind == EpilogueStep::unary) return apply_unary(step.function, y, count, InPlace{y});
  const bool one = operand.sample == 0 && operand.row == 0 && operand.pixel == 0;
  F32 b = zero();
  if (one && count > 0) b = load_operand(operand, at[0], channel, lanes);
  for (int i = 0; i < count; ++i) {
    if (!one) b = load_operand(operand, at[i], channel, lanes);
    y[i] = step.kind == EpilogueStep::add ? add(y[i], b) : mul(y[i], b);
  }
}

// y[i], i < count: the `lanes` channels from `channel` on at at[i], through all steps.
inline void apply_epilogue(const Epilogue& epilogue, F32* y, const Place* at, int count,
                           std::ptrdiff_t channel, std::size_t lanes) {
  for (int k = 0; k < epilogue.count; ++k) {
    apply_step(epilogue.steps[k], y, at, count, channel, lanes);
  }
}

// The same for full vectors, which end at to[i] + first: a function that comes last stores them
// itself, which saves a pass over y.
inline void apply_epilogue_and_store(const Epilogue& epilogue, F32* y, const Place* at, int count,
                                     std::ptrdiff_t channel, float* const* to,
                                     std::ptrdiff_t first) {
  const int last = epilogue.count - 1;
  const bool function = last >= 0 && epilogue.steps[last].kind == EpilogueStep::unary;
  for (int k = 0; k <= last - (function ? 1 : 0); ++k) {
    apply_step(epilogue.steps[k], y, at, count, channel, kLanes);
  }
  const ToPixels sink{to, first};
  if (function) return apply_unary(epilogue.steps[last].function, y, count, sink);
  for (int i = 0; i < count; ++i) sink(i, y[i]);
}

// Whether any step looks at the place.
inline bool has_operands(const Epilogue& epilogue) {
  for (int k = 0; k < epilogue.count; ++k) {
    if (epilogue.steps[k].kind != EpilogueStep::unary) return true;
  }
  return false;
}

}  // namespace
}  // namespace fd
