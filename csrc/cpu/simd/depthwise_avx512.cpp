#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the body is written over its names.
#include "cpu/simd/depthwise_body.h"

namespace fd {

extern const DepthwiseKernels kDepthwiseAvx512 = {static_cast<int>(kLanes), depthwise};

}  // namespace fd
