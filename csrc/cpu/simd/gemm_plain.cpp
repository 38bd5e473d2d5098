#include "cpu/simd/vec_plain.h"
// vec_plain.h first: the bodies are written over its names.
namespace fd {
namespace {
constexpr int kGemmRows = 4;  // Four registers for a and b beside 8 sums.
}  // namespace
}  // namespace fd
#include "cpu/simd/gemm_body.h"

namespace fd {

extern const GemmKernels kGemmPlain = {static_cast<int>(kLanes), gemm<Float32Math>, nullptr};

}  // namespace fd
