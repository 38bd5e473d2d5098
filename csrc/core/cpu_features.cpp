#include "core/cpu_features.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fd {
namespace {

#if defined(__x86_64__)

struct CpuidLeaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidLeaf cpuid(unsigned leaf, unsigned subleaf = 0) {
  CpuidLeaf r;
  // Leaves that the processor lacks are reported as "nothing supported".
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

// The register state that the operating system saves (XCR0). The instruction is written out
// because the intrinsic needs -mxsave, and this file is compiled for any x86-64.
std::uint64_t saved_state() {
  std::uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

bool has_all(std::uint64_t value, std::uint64_t bits) { return (value & bits) == bits; }

Isa detect() {
  constexpr unsigned osxsave = 1u << 27, avx = 1u << 28, fma = 1u << 12;             // leaf 1, ecx
  constexpr unsigned avx2 = 1u << 5;                                                 // leaf 7, ebx
  constexpr unsigned avx512_f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // leaf 7, ebx
  constexpr std::uint64_t ymm_state = 0x6;   // SSE and AVX halves
  constexpr std::uint64_t zmm_state = 0xe6;  // and mask registers, upper zmm halves, zmm16-31
  const CpuidLeaf leaf1 = cpuid(1), leaf7 = cpuid(7);
  if (!has_all(leaf1.ecx, osxsave | avx | fma) || !has_all(leaf7.ebx, avx2)) return Isa::scalar;
  const std::uint64_t state = saved_state();
  if (!has_all(state, ymm_state)) return Isa::scalar;
  if (!has_all(leaf7.ebx, avx512_f_dq_bw_vl) || !has_all(state, zmm_state)) return Isa::avx2;
  constexpr unsigned avx512_bf16 = 1u << 5;  // leaf 7.1, eax
  return has_all(cpuid(7, 1).eax, avx512_bf16) ? Isa::avx512_bf16 : Isa::avx512;
}

#else

Isa detect() { return Isa::scalar; }

#endif

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::scalar:
      break;
  }
  return "scalar";
}

Isa machine_isa() {
  static const Isa isa = detect();
  return isa;
}

Isa parse_isa(const char* source, const char* text) {
  for (Isa isa : kAllIsas) {
    if (std::string(text) == isa_name(isa)) return isa;
  }
  fail_argument(source, "scalar, avx2, avx512 or avx512_bf16", "'" + std::string(text) + "'");
}

Isa max_isa_from_environment() {
  const char* text = std::getenv("FASTDIFF_MAX_ISA");
  if (text == nullptr || *text == '\0') return Isa::avx512_bf16;
  return parse_isa("FASTDIFF_MAX_ISA", text);
}

}  // namespace fd
