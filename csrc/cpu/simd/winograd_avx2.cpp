#include "cpu/simd/vec_avx2.h"
// vec_avx2.h first: the bodies are written over its names.
namespace fd {
namespace {
constexpr int kGemmRows = 6;  // as in gemm_avx2.cpp
}  // namespace
}  // namespace fd
#include "cpu/simd/winograd_body.h"

namespace fd {

extern const WinogradKernels kWinogradAvx2 = {static_cast<int>(kLanes), steps<F2, Float32Math>(),
                                              steps<F4, Float32Math>()};

}  // namespace fd
