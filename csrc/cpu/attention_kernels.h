// The attention kernel of one instruction set, as a plain function pointer. The SIMD files include
// this header, so it holds no inline code.
#pragma once

#include <cstddef>

#include "cpu/attention.h"

namespace fd {

// Queries that a block may hold at most, and keys that are looked at together.
constexpr int kAttentionQueries = 64;
constexpr int kAttentionKeys = 64;

struct AttentionKernels {
  int lanes;    // queries in a vector
  int vectors;  // of queries that a block may hold
  // The output of queries first ... first + count - 1, 1 <= count <= lanes * vectors.
  void (*block)(const AttentionCall& call, int sample, int head, int first, int count);
};

extern const AttentionKernels kAttentionPlain;
extern const AttentionKernels kAttentionAvx2;    // only on x86-64
extern const AttentionKernels kAttentionAvx512;  // only on x86-64

}  // namespace fd
