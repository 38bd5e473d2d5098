#include "cpu/simd/vec_plain.h"
// vec_plain.h first: the body is written over its names.
#include "cpu/simd/matmul_body.h"

namespace fd {

extern const MatmulKernels kMatmulPlain = kKernels;

}  // namespace fd
