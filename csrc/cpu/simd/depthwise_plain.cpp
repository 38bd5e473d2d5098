#include "cpu/simd/vec_plain.h"
// vec_plain.h first: the body is written over its names.
#include "cpu/simd/depthwise_body.h"

namespace fd {

extern const DepthwiseKernels kDepthwisePlain = {static_cast<int>(kLanes), depthwise};

}  // namespace fd
