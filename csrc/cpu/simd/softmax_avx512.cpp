#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the body is written over its names.
#include "cpu/simd/softmax_body.h"

namespace fd {

extern const SoftmaxKernels kSoftmaxAvx512 = kKernels;

}  // namespace fd
