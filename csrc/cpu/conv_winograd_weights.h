// G g G^T of every kernel, packed.
#pragma once

#include "cpu/conv_algorithms.h"

namespace fd {

// weight [out, in, 3, 3] to [panel][point][element][channel] (conv_kernels.h); the last panel has
// as many vectors of `lanes` channels as it needs. In float64, rounded once.
void pack_winograd_weights(const ConvShape& shape, int tile, const ElementLayout& layout, int panel,
                           int lanes, const float* weight, AlignedBytes* to);

}  // namespace fd
