#include "cpu/simd/vec_avx512.h"
// vec_avx512.h first: the bodies are written over its names.
namespace fd {
namespace {
constexpr int kGemmRows = 8;  // as in gemm_avx512.cpp
}  // namespace
}  // namespace fd
#include "cpu/simd/gemm_bf16_math.h"
#include "cpu/simd/gemm_body.h"

namespace fd {
namespace {

void round_to_bf16(const float* from, std::ptrdiff_t count, void* to) {
  constexpr std::ptrdiff_t lanes = kLanes;
  auto* elements = static_cast<std::uint32_t*>(to);
  for (std::ptrdiff_t i = 0; i < count; i += lanes, elements += lanes / 2) {
    const std::ptrdiff_t left = count - i;
    const F32 x =
        left < lanes ? load_partial(from + i, static_cast<std::size_t>(left)) : load(from + i);
    Bf16Math::store_input(elements, x);
  }
}

}  // namespace

extern const GemmKernels kGemmAvx512Bf16 = {static_cast<int>(kLanes), gemm<Bf16Math>,
                                            round_to_bf16};

}  // namespace fd
