// One step of a plan: a call of a kernel, with everything but the addresses settled.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/cpu_features.h"
#include "ops/epilogue.h"
#include "ops/image.h"
#include "plan/tensor.h"

namespace fd {

// A buffer of a plan's arena: `floats` a sample, from `offset` on (both for one sample), holding
// something between the steps `first` and `last`.
struct Buffer {
  std::ptrdiff_t floats = 0, offset = 0;
  int first = 0, last = 0;
};

// The caller's memory for an input or output: sample s is at data + s * sample.
struct Bound {
  float* data = nullptr;
  std::ptrdiff_t sample = 0;
};

// One run of a plan, as its steps see it.
struct Frame {
  int samples = 0;
  int regime = 0;  // which choices of the tuner apply: plan/regime.h
  Share share;
  Isa isa = Isa::scalar;
  float* arena = nullptr;
  std::ptrdiff_t capacity = 0;  // samples that the arena has room for
  const Buffer* buffers = nullptr;
  const Bound* inputs = nullptr;
  const Bound* outputs = nullptr;
  float* scratch = nullptr;  // this thread's own

  Bound at(const Place& place) const {
    switch (place.kind) {
      case Place::arena: {
        const Buffer& buffer = buffers[place.index];
        return {arena + buffer.offset * capacity + place.offset, buffer.floats};
      }
      case Place::constant:
        // Kernels do not write to what they only read.
        return {const_cast<float*>(place.constant_data) + place.offset, 0};
      case Place::input:
        return {inputs[place.index].data + place.offset, inputs[place.index].sample};
      case Place::output:
        return {outputs[place.index].data + place.offset, outputs[place.index].sample};
      case Place::none:
        break;
    }
    return {};
  }
};

class Step {
 public:
  virtual ~Step() = default;
  virtual void run(const Frame& frame) const = 0;
  virtual std::size_t scratch_floats(int samples) const {
    static_cast<void>(samples);
    return 0;
  }
  // What it computes and how, for people.
  virtual std::string describe(int regime) const = 0;
  // Multiplications (and additions) of the plain algorithm for one sample, for the profile.
  virtual double flops() const { return 0; }

  std::string path;  // the module that it came from
};

// An image-like operand of an epilogue, a norm's gamma or beta: strides settled, address not.
struct PlannedOperand {
  Place place;
  std::ptrdiff_t row = 0, pixel = 0, channel = 0;

  Operand bind(const Frame& frame) const {
    const Bound bound = frame.at(place);
    return {bound.data, bound.sample, row, pixel, channel};
  }
};

struct PlannedEpilogueStep {
  EpilogueStep::Kind kind = EpilogueStep::unary;
  Unary function = Unary::relu;
  PlannedOperand operand;
};

struct PlannedEpilogue {
  std::vector<PlannedEpilogueStep> steps;  // at most kMaxEpilogue

  Epilogue bind(const Frame& frame) const {
    Epilogue epilogue;
    for (const PlannedEpilogueStep& step : steps) {
      EpilogueStep& bound = epilogue.steps[epilogue.count++];
      bound.kind = step.kind;
      bound.function = step.function;
      if (step.kind != EpilogueStep::unary) bound.operand = step.operand.bind(frame);
    }
    return epilogue;
  }
};

// An image in a plan: channels adjacent.
struct PlannedImage {
  Place place;
  int height = 1, width = 1, channels = 1;
  std::ptrdiff_t row = 0, pixel = 0;

  ConstImage in(const Frame& frame) const {
    const Bound bound = frame.at(place);
    return {bound.data, bound.sample, row, pixel};
  }
  Image out(const Frame& frame) const {
    const Bound bound = frame.at(place);
    return {bound.data, bound.sample, row, pixel};
  }
};

}  // namespace fd
