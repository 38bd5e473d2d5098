#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the body is written over its names.
#include "cpu/simd/noise_body.h"

namespace fd {

extern const NoiseKernels kNoiseAvx512 = kKernels;

}  // namespace fd
