// Softmax by its definition, in float64: what the fast one is tested against.
#pragma once

#include <vector>

#include "cpu/attention.h"

namespace fd {

// out[s, r, i] = e^(x[s, r, i] - largest) / sum_j e^(x[s, r, j] - largest), dense, where `largest`
// is the row's.
std::vector<double> softmax_reference(const SoftmaxCall& call);

}  // namespace fd
