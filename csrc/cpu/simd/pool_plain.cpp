#include "cpu/simd/vec_plain.h"
// vec_plain.h first: the body is written over its names.
#include "cpu/simd/pool_body.h"

namespace fd {

extern const PoolKernels kPoolPlain = kKernels;

}  // namespace fd
