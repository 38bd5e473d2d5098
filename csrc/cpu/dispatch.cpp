#include "cpu/dispatch.h"

#include <algorithm>

#include "core/error.h"

namespace fd {

std::vector<Isa> compiled_isas() {
#if defined(FD_HAVE_X86_SIMD)
  return {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512_bf16};
#else
  return {Isa::scalar};
#endif
}

std::vector<Isa> available_isas() {
  const Isa widest = std::min(machine_isa(), max_isa_from_environment());
  std::vector<Isa> isas = compiled_isas();
  isas.erase(std::remove_if(isas.begin(), isas.end(), [&](Isa isa) { return isa > widest; }),
             isas.end());
  return isas;
}

Isa active_isa() {
  static const Isa isa = available_isas().back();
  return isa;
}

const NoiseKernels& noise_kernels(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return kNoiseScalar;
#if defined(FD_HAVE_X86_SIMD)
    case Isa::avx2:
      return kNoiseAvx2;
    case Isa::avx512:
    case Isa::avx512_bf16:
      return kNoiseAvx512;
#else
    default:
      break;
#endif
  }
  fail_argument("isa", "one that is in this build", isa_name(isa));
}

}  // namespace fd
