#include "cpu/simd/vec_avx2.h"
// vec_avx2.h first: the bodies are written over its names.
namespace fd {
namespace {
constexpr int kGemmRows = 6;  // 12 sums of 16 registers.
}  // namespace
}  // namespace fd
#include "cpu/simd/gemm_body.h"

namespace fd {

extern const GemmKernels kGemmAvx2 = {static_cast<int>(kLanes), gemm<Float32Math>, nullptr};

}  // namespace fd
