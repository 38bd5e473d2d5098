// The numbers that define Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). Kept apart from philox.h because the SIMD files may include constants but no
// inline functions: those would be compiled with wider instructions and could replace, at link
// time, the copies that plain CPUs run.
#pragma once

#include <cstdint>

namespace fd {

constexpr std::uint32_t kPhiloxMul0 = 0xD2511F53u;  // multiplies counter word 0
constexpr std::uint32_t kPhiloxMul1 = 0xCD9E8D57u;  // multiplies counter word 2
constexpr std::uint32_t kPhiloxKey0 = 0x9E3779B9u;  // added to key word 0 after each round
constexpr std::uint32_t kPhiloxKey1 = 0xBB67AE85u;  // added to key word 1 after each round
constexpr int kPhiloxRounds = 10;

// u = (float32(word) + 0.5) * 2^-32
constexpr float kUniformScale = 2.3283064365386963e-10f;  // 2^-32, exact

}  // namespace fd
