// Which instruction set may this process use: what the processor has, what the operating system
// saves on a context switch, and what FASTDIFF_MAX_ISA allows.
#pragma once

namespace fd {

// Ordered: each includes those before it. avx512_bf16 is avx512 with bfloat16 dot products.
enum class Isa { scalar = 0, avx2 = 1, avx512 = 2, avx512_bf16 = 3 };

constexpr Isa kAllIsas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512_bf16};

const char* isa_name(Isa isa);

// The widest Isa that processor and operating system support, whatever the environment says.
Isa machine_isa();

// The Isa named; InvalidArgument naming `source` (the variable or argument) for any other text.
Isa parse_isa(const char* source, const char* text);

// FASTDIFF_MAX_ISA, or the widest where it is unset or empty. InvalidArgument for a wrong value.
Isa max_isa_from_environment();

}  // namespace fd
