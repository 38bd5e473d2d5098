// Group norm and layer norm, two-pass in float32 or better, with what follows fused in.
#pragma once

#include <cstddef>

#include "core/cpu_features.h"
#include "ops/epilogue.h"
#include "ops/image.h"

namespace fd {

// y = (x - mean) / sqrt(variance + eps) * gamma + beta over each of `groups` groups of adjacent
// channels and all pixels; groups 0: over the channels of each pixel by itself. Then the epilogue.
// `out` may be `in`.
struct NormCall {
  int samples = 1, height = 1, width = 1, channels = 1;
  int groups = 1;
  float eps = 1e-5f;
  ConstImage in;
  Image out;
  Operand gamma, beta;  // data null: none. One value a channel, or one an element
  const Epilogue* epilogue = nullptr;
  Share share;
  float* scratch = nullptr;  // norm_scratch_floats, this thread's own
};

std::size_t norm_scratch_floats(const NormCall& call);
void norm(const NormCall& call, Isa isa);

}  // namespace fd
