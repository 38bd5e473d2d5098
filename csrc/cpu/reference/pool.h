// Pools and means by their definitions, in float64: what the fast ones are tested against.
#pragma once

#include <vector>

#include "cpu/elementwise.h"

namespace fd {

// out[s, y, x, c], dense: the largest or the mean of the kernel_y x kernel_x window that starts at
// (y stride_y - padding_y, x stride_x - padding_x), as far as it is inside; nan where one is in it.
// Then the epilogue.
std::vector<double> pool_reference(const PoolCall& call);

// out[s, i...] = the mean of a[s, i..., j...] over j, the last `reduced` dimensions; dense.
std::vector<double> mean_reference(int samples, const Extent& extent, int reduced,
                                   const ConstView& a);

}  // namespace fd
