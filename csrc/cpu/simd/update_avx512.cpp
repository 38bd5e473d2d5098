#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the body is written over its names.
#include "cpu/simd/update_body.h"

namespace fd {

extern const UpdateKernels kUpdateAvx512 = kKernels;

}  // namespace fd
