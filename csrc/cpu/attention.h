// softmax(scale * q k^T) v by online softmax, and softmax by itself.
#pragma once

#include <cstddef>

#include "core/cpu_features.h"
#include "ops/image.h"

namespace fd {

// q, k, v, out: element (s, h, n, d) at data[s * sample + h * head + n * token + d].
struct Heads {
  const float* data = nullptr;
  std::ptrdiff_t sample = 0, head = 0, token = 0;
};

struct AttentionCall {
  int samples = 1, heads = 1, queries = 1, keys = 1;
  int width = 1, value_width = 1;  // of q and k, of v and out
  float scale = 1;
  Heads q, k, v;
  float* out = nullptr;
  std::ptrdiff_t out_sample = 0, out_head = 0, out_token = 0;
  Share share;
  float* scratch = nullptr;
};

std::size_t attention_scratch_floats(const AttentionCall& call);
void attention(const AttentionCall& call, Isa isa);

// Over `length` adjacent elements of each of `rows` rows, `stride` apart, of each sample.
struct SoftmaxCall {
  int samples = 1;
  std::ptrdiff_t rows = 1, length = 1;
  const float* in = nullptr;
  std::ptrdiff_t in_sample = 0, in_stride = 0;
  float* out = nullptr;
  std::ptrdiff_t out_sample = 0, out_stride = 0;
  Share share;
};

void softmax(const SoftmaxCall& call, Isa isa);

}  // namespace fd
