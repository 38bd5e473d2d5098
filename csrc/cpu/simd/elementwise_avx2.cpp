#include "cpu/simd/vec_avx2.h"
// vec_avx2.h first: the body is written over its names.
#include "cpu/simd/elementwise_body.h"

namespace fd {

extern const ElementwiseKernels kElementwiseAvx2 = kKernels;

}  // namespace fd
