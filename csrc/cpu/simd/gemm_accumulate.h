// The inner loop of every convolution: R rows times one panel of N vectors of output channels.
//
//   acc[r][n] += a[r][k] * b[k][n]     k = 0 ... depth - 1, in this order for every R
//
// a is broadcast from memory, b streams. AVX-512: 8 x 2 needs 10 loads for 16 multiply-adds; AMD
// Zen 4 (one 512-bit FMA a cycle) runs it at 98-99 % of its peak with b in L2, and in L3 as well.
// AVX2 has 16 registers: 6 x 2. The order of the sum does not depend on R, so neither do the bits.
//
// Math says what an element is and how it is multiplied: Float32Math here, Bf16Math in
// gemm_bf16_math.h. kGemmRows comes from the file that includes this.
#pragma once

#include "cpu/conv_kernels.h"

namespace fd {
namespace {

struct Float32Math {
  using Element = float;
  static constexpr std::ptrdiff_t kChannels = 1;  // a step of the sum
  using Vector = F32;
  static Vector broadcast(const float* from) { return set1(*from); }
  static Vector load_weights(const float* from) { return load(from); }
  static F32 multiply_add(Vector a, Vector b, F32 c) { return fma(a, b, c); }
  // One vector of channels of the transformed input, at the element of its first channel.
  static void store_input(float* to, F32 value) { store(to, value); }
};

// Into the second cache. Where the weights of a net do not fit in L3, the processor's own
// prefetching, which stops at every page, does not keep up with them: a call asks for what lies two
// runs of its length ahead (the point or the tap after the next; past the end of the weights that
// does nothing). 32 layers of 64 -> 64 at 8x8 in F4, 19 MB of weights: 1.68 ms, not 2.12. Where
// they fit it costs float32 nothing and bf16 1 to 2 %.
inline void prefetch(const void* from) { __builtin_prefetch(from, 0, 2); }

template <int R, int N>
inline void clear(F32 (&acc)[R][N]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) acc[r][n] = zero();
  }
}

template <class Math, int R, int N>
inline void accumulate(F32 (&acc)[R][N], const typename Math::Element* const (&a)[R],
                       const typename Math::Element* b, std::ptrdiff_t depth) {
  constexpr std::ptrdiff_t lanes = kLanes;
#pragma GCC unroll 1
  for (std::ptrdiff_t k = 0; k < depth; ++k) {
    typename Math::Vector weights[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) weights[n] = Math::load_weights(b + (k * N + n) * lanes);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) prefetch(b + ((2 * depth + k) * N + n) * lanes);
    for (int r = 0; r < R; ++r) {
      const typename Math::Vector x = Math::broadcast(a[r] + k);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) acc[r][n] = Math::multiply_add(x, weights[n], acc[r][n]);
    }
  }
}

// `rows` in as few pieces of at most kGemmRows as there can be, as even as they can be: a piece of
// one row would run at the latency of the multiply-add.
inline int piece_rows(int rows) {
  const int pieces = (rows + kGemmRows - 1) / kGemmRows;
  return (rows + pieces - 1) / pieces;
}

}  // namespace
}  // namespace fd
