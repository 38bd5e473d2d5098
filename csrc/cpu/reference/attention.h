// Attention by its definition: what the fast one is tested against.
#pragma once

#include <vector>

#include "cpu/attention.h"

namespace fd {

// out[s, n, h, d] = sum_j p[j] v[s, h, j, d], dense, where p is the softmax over j of
// scale sum_d q[s, h, n, d] k[s, h, j, d]. Computed in Real: double is the reference, float what a
// plain loop's rounding costs.
template <class Real>
std::vector<Real> attention_reference(const AttentionCall& call);

}  // namespace fd
