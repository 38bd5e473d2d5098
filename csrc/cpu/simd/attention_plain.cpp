#include "cpu/simd/vec_plain.h"
// vec_plain.h first: the body is written over its names.
#include "cpu/simd/attention_body.h"

namespace fd {

extern const AttentionKernels kAttentionPlain = kKernels;

}  // namespace fd
