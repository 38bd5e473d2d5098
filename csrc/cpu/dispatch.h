// The one place that chooses among instruction sets.
#pragma once

#include <vector>

#include "core/cpu_features.h"
#include "cpu/noise_kernels.h"

namespace fd {

std::vector<Isa> compiled_isas();   // those in this build
std::vector<Isa> available_isas();  // of those, what machine and FASTDIFF_MAX_ISA allow

// The widest available. FASTDIFF_MAX_ISA is read once, at first use; InvalidArgument if it's wrong.
Isa active_isa();

// The kernels of one instruction set; InvalidArgument where it's not in this build.
const NoiseKernels& noise_kernels(Isa isa);

// The table of a family of kernels for an instruction set: FD_KERNELS(isa, kNorm) is kNormPlain,
// kNormAvx2 or kNormAvx512, which cpu/simd/norm_*.cpp define over one body.
#if defined(FD_HAVE_X86_SIMD)
#define FD_KERNELS(isa, family)               \
  ((isa) == ::fd::Isa::scalar ? family##Plain \
   : (isa) == ::fd::Isa::avx2 ? family##Avx2  \
                              : family##Avx512)
#else
#define FD_KERNELS(isa, family) (static_cast<void>(isa), family##Plain)
#endif

}  // namespace fd
