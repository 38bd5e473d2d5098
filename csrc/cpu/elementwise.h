// Ops on tensors of any rank and strides: elementwise with broadcasting, copies, means, pools,
// look-ups and a product of two activations. Fast where the last dimensions are dense.
#pragma once

#include <cstddef>

#include "core/cpu_features.h"
#include "ops/elementwise_kinds.h"
#include "ops/epilogue.h"
#include "ops/image.h"
#include "ops/view.h"

namespace fd {

// out = f(a); out may be a.
void unary(Unary kind, int samples, const Extent& extent, const ConstView& a, const View& out,
           Share share, Isa isa);
// out = a op b; strides of 0 broadcast; out may be a or b.
void binary(Binary kind, int samples, const Extent& extent, const ConstView& a, const ConstView& b,
            const View& out, Share share, Isa isa);
// out = a, which is how layouts are changed. No overlap.
void copy(int samples, const Extent& extent, const ConstView& a, const View& out, Share share,
          Isa isa);
// out = the integer part of a, as a cast to int64 and back has it.
void truncate(int samples, const Extent& extent, const ConstView& a, const View& out, Share share,
              Isa isa);
// The mean of the last `reduced` dimensions of extent; out has the others, in their order.
void mean(int samples, const Extent& extent, int reduced, const ConstView& a, const View& out,
          Share share, Isa isa);

struct PoolCall {
  PoolKind kind = PoolKind::max;
  int samples = 1, channels = 1;
  int height = 1, width = 1, out_height = 1, out_width = 1;
  int kernel_y = 1, kernel_x = 1, stride_y = 1, stride_x = 1, padding_y = 0, padding_x = 0;
  ConstImage in;
  Image out;
  const Epilogue* epilogue = nullptr;
  Share share;
};
void pool(const PoolCall& call, Isa isa);

// out[s, i, :] = table[index[s, i], :] for `count` indices a sample, held as floats; an index
// outside [0, rows) is clamped to it.
struct EmbeddingCall {
  int samples = 1;
  std::ptrdiff_t count = 1, rows = 1, width = 1;
  const float* table = nullptr;
  const float* index = nullptr;
  std::ptrdiff_t index_sample = 0;
  float* out = nullptr;
  std::ptrdiff_t out_sample = 0;
  Share share;
};
void embedding(const EmbeddingCall& call, Isa isa);

// out[s, batch..., i, j] = sum_k a[s, batch..., i, k] b[s, batch..., k, j]; the last two dimensions
// of each view are the matrix, `extent` is [batch..., m, n], `inner` is k; any strides.
void matmul(int samples, const Extent& extent, std::ptrdiff_t inner, const ConstView& a,
            const ConstView& b, const View& out, Share share, Isa isa);

}  // namespace fd
