#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the bodies are written over its names.
namespace fd {
namespace {
constexpr int kGemmRows = 8;  // as in gemm_avx512.cpp
}  // namespace
}  // namespace fd
#include "cpu/simd/winograd_body.h"

namespace fd {

extern const WinogradKernels kWinogradAvx512 = {static_cast<int>(kLanes), steps<F2, Float32Math>(),
                                                steps<F4, Float32Math>()};

}  // namespace fd
