// The product of two activations by its definition: what the fast one is tested against.
#pragma once

#include <cstddef>
#include <vector>

#include "ops/view.h"

namespace fd {

// out[s, batch..., i, j] = sum_k a[s, batch..., i, k] b[s, batch..., k, j], dense; arguments as
// matmul has them. Summed in Real: double is the reference, float what a plain loop's rounding
// costs.
template <class Real>
std::vector<Real> matmul_reference(int samples, const Extent& extent, std::ptrdiff_t inner,
                                   const ConstView& a, const ConstView& b);

}  // namespace fd
