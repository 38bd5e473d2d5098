// Group norm and layer norm by their definitions, in float64: what the fast ones are tested
// against.
#pragma once

#include <vector>

#include "cpu/norm.h"

namespace fd {

// out[s, y, x, c] = (in - mean) / sqrt(variance + eps) gamma + beta, dense. Mean and variance (the
// mean square of in - mean) are over what is normalised together: all pixels of a group's channels,
// or, where groups is 0, the channels of one pixel. Then the epilogue.
std::vector<double> norm_reference(const NormCall& call);

}  // namespace fd
