#include "cpu/simd/vec_avx2.h"
// vec_avx2.h first: the body is written over its names.
#include "cpu/simd/depthwise_body.h"

namespace fd {

extern const DepthwiseKernels kDepthwiseAvx2 = {static_cast<int>(kLanes), depthwise};

}  // namespace fd
