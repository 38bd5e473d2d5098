#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the body is written over its names.
#include "cpu/simd/elementwise_body.h"

namespace fd {

extern const ElementwiseKernels kElementwiseAvx512 = kKernels;

}  // namespace fd
