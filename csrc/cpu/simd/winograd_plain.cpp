#include "cpu/simd/vec_plain.h"
// vec_plain.h first: the bodies are written over its names.
namespace fd {
namespace {
constexpr int kGemmRows = 4;  // as in gemm_plain.cpp
}  // namespace
}  // namespace fd
#include "cpu/simd/winograd_body.h"

namespace fd {

extern const WinogradKernels kWinogradPlain = {static_cast<int>(kLanes), steps<F2, Float32Math>(),
                                               steps<F4, Float32Math>()};

}  // namespace fd
