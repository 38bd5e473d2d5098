#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the body is written over its names.
#include "cpu/simd/attention_body.h"

namespace fd {

extern const AttentionKernels kAttentionAvx512 = kKernels;

}  // namespace fd
