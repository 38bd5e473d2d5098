#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the bodies are written over its names.
namespace fd {
namespace {
constexpr int kGemmRows = 8;  // 16 sums of 32 registers.
}  // namespace
}  // namespace fd
#include "cpu/simd/gemm_body.h"

namespace fd {

extern const GemmKernels kGemmAvx512 = {static_cast<int>(kLanes), gemm<Float32Math>, nullptr};

}  // namespace fd
