// The functions of ops/epilogue.h on vectors. (Placeholders where they return x: being written.)
#pragma once

namespace fd {
namespace {

inline F32 relu(F32 x) { return max(x, zero()); }
inline F32 neg(F32 x) { return sub(zero(), x); }
inline F32 rsqrt(F32 x) { return div(set1(1.0f), sqrt(x)); }
inline F32 gelu(F32 x) { return x; }
inline F32 gelu_tanh(F32 x) { return x; }
inline F32 silu(F32 x) { return x; }
inline F32 sigmoid(F32 x) { return x; }
inline F32 tanh(F32 x) { return x; }
inline F32 exp(F32 x) { return x; }
inline F32 log(F32 x) { return x; }
inline F32 sin(F32 x) { return x; }
inline F32 cos(F32 x) { return x; }

}  // namespace
}  // namespace fd
