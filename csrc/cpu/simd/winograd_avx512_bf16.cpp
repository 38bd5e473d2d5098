#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the bodies are written over its names.
namespace fd {
namespace {
constexpr int kGemmRows = 8;  // as in gemm_avx512.cpp
}  // namespace
}  // namespace fd
#include "cpu/simd/gemm_bf16_math.h"
#include "cpu/simd/winograd_body.h"

namespace fd {

extern const WinogradKernels kWinogradAvx512Bf16 = {static_cast<int>(kLanes), steps<F2, Bf16Math>(),
                                                    steps<F4, Bf16Math>()};

}  // namespace fd
