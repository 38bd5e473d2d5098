// Attention of a block of queries over all keys (cpu/attention.h), by online softmax. Written once
// over the names of vec_*.h; rules as in noise_body.h.
//
//   s_ij = scale q_i k_j,  m_i = max_j s_ij,  w_ij = 2^(s_ij - m_i)
//   out_i = sum_j w_ij v_j / sum_j w_ij
//
// with log2(e) in the scale (the form of Dao et al., "FlashAttention", 2022). A lane is a query.
// Keys and values are then scalars, broadcast from where they lie; softmax needs nothing across
// lanes; and no width or number of keys is odd: lanes idle only where the last queries do not fill
// a vector. (1 query costs what kLanes do.) Scratch holds, with queries adjacent,
//
//   Q [width][queries], scaled;  S [kAttentionKeys][queries];  O [value_width][queries]
//
// Both products are the same tile in registers, some rows by M vectors of queries (M = 1, 2, 4):
//
//   S[j][:] = sum_d k[j][d] Q[d][:],   P[d][:] = sum_j v[j][d] 2^(S[j][:] - m)
//   O[d][:] = O[d][:] 2^(m_before - m) + P[d][:]     after every kAttentionKeys keys
//
// All in float32, sums over keys in runs of kAttentionKeys. A query's bits depend on no other query
// and not on its lane or M. Rows whose scores are all -inf, and those with a nan or inf, are nan.
//
// Accuracy: within twice the error of the plain loops in float32, for scores of up to +-300 (rms
// and largest; tests/cpp/test_attention.cpp).
//
// 2 queries keys (width + value_width) FLOP a head and queries keys exponentials of 7 fused
// operations. Zen 4, one core at 3.7 GHz (118 GFLOP/s), 8 heads out of a fused buffer:
//
//   tokens, keys   width 8       16            32            64             128
//   256, 256       66 GFLOP/s    83            94            100 (1.34 ms)  102
//   256, 77        61            76            85            88 (0.46 ms)   86
//   1024, 1024     68            83            94            99 (21.6 ms)   99
//
// AVX2: 58, 76, 90, 95, 89 for 256, 256; plain: 20, 26, 31, 33, 32.
#pragma once

#include "cpu/attention_kernels.h"

namespace fd {
namespace {

constexpr int kVectors = 4;  // of queries in a block, at most: kAttentionQueries where widest
static_assert(kVectors * kLanes <= kAttentionQueries, "scratch holds a block");

// 2^x for x <= 0, and 0 below -126. Relative error 1.6e-7. 2^n (1 + f P(f)), n = round(x), which
// adding 1.5 * 2^23 leaves in the low bits; P is a minimax fit, 9.3e-8 off relative to the whole.
// 2^0 is 1. nan stays nan.
inline F32 exp2_negative(F32 x) {
  const F32 rounding_shift = set1(12582912.0f);
  const F32 shifted = add(x, rounding_shift);
  const F32 f = sub(x, sub(shifted, rounding_shift));
  F32 p = set1(0.0013269407209008932f);
  p = fma(p, f, set1(0.009671294130384922f));
  p = fma(p, f, set1(0.0555071122944355f));
  p = fma(p, f, set1(0.24022246897220612f));
  p = fma(p, f, set1(0.6931470036506653f));
  p = fma(p, f, set1(1.0f));
  const F32 y = float_of_bits(add(bits(p), shift_left<23>(bits(shifted))));
  return select_less(x, set1(-126.0f), zero(), y);
}

// 4 x 4 elements transposed, in 128-bit vectors on every instruction set.
using Quad = float __attribute__((vector_size(16)));

inline void transpose_quads(const float* from, std::ptrdiff_t from_row, float* to,
                            std::ptrdiff_t to_row, float factor) {
  Quad r[4];
  for (int i = 0; i < 4; ++i) {
    __builtin_memcpy(&r[i], from + i * from_row, sizeof(Quad));
    r[i] *= factor;
  }
  const Quad ab_low = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const Quad ab_high = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const Quad cd_low = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const Quad cd_high = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
  for (int i = 0; i < 4; ++i) __builtin_memcpy(to + i * to_row, &r[i], sizeof(Quad));
}

// to[c][r] = factor * from[r][c] for r < rows, c < columns.
inline void transpose_block(const float* from, std::ptrdiff_t from_row, int rows, int columns,
                            float* to, std::ptrdiff_t to_row, float factor) {
  const int quad_rows = rows / 4 * 4, quad_columns = columns / 4 * 4;
  for (int r = 0; r < quad_rows; r += 4) {
    for (int c = 0; c < quad_columns; c += 4) {
      transpose_quads(from + r * from_row + c, from_row, to + c * to_row + r, to_row, factor);
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int c = r < quad_rows ? quad_columns : 0; c < columns; ++c) {
      to[c * to_row + r] = factor * from[r * from_row + c];
    }
  }
}

// The same by blocks. Tokens may be a power of two apart and then push one another out of the first
// cache: 16 x 16 goes through those it reads four at a time, 16 x 4 through those it writes.
template <int block_columns>
inline void transpose(const float* from, std::ptrdiff_t from_row, int rows, int columns, float* to,
                      std::ptrdiff_t to_row, float factor) {
  for (int r = 0; r < rows; r += 16) {
    const int rows_here = rows - r < 16 ? rows - r : 16;
    for (int c = 0; c < columns; c += block_columns) {
      const int columns_here = columns - c < block_columns ? columns - c : block_columns;
      transpose_block(from + r * from_row + c, from_row, rows_here, columns_here,
                      to + c * to_row + r, to_row, factor);
    }
  }
}

// What is wanted of a tile once its sums are in registers.
template <int M>
struct KeepScores {
  float* scores;  // [row][M * kLanes]
  F32* largest;   // [M]
  void operator()(int row, int m, F32 sum) const {
    store(scores + (row * M + m) * static_cast<int>(kLanes), sum);
    largest[m] = max(largest[m], sum);
  }
};

template <int M>
struct AddToOutput {
  float* output;          // [row][M * kLanes]
  const F32* correction;  // [M]
  void operator()(int row, int m, F32 sum) const {
    float* to = output + (row * M + m) * static_cast<int>(kLanes);
    store(to, fma(load(to), correction[m], sum));
  }
};

// c[r][m] = sum over i < count of a[r * row + i * step] * b[i][m], to finish(first + r, m, c).
template <int R, int M, class Finish>
inline void tile(const float* a, std::ptrdiff_t row, std::ptrdiff_t step, const float* b, int count,
                 int first, const Finish& finish) {
  F32 c[R][M];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) c[r][m] = zero();
  }
  for (int i = 0; i < count; ++i, a += step, b += M * kLanes) {
    F32 bm[M];
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) bm[m] = load(b + m * static_cast<int>(kLanes));
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const F32 ar = set1(a[r * row]);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) c[r][m] = fma(ar, bm[m], c[r][m]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) finish(first + r, m, c[r][m]);
  }
}

template <int R, int M, class Finish>
inline void tile_of(int rows, const float* a, std::ptrdiff_t row, std::ptrdiff_t step,
                    const float* b, int count, int first, const Finish& finish) {
  if constexpr (R > 1) {
    if (rows < R) return tile_of<R - 1, M>(rows, a, row, step, b, count, first, finish);
  }
  tile<R, M>(a, row, step, b, count, first, finish);
}

// All rows, in tiles of nearly the same number.
template <int M, class Finish>
inline void product(int rows, const float* a, std::ptrdiff_t row, std::ptrdiff_t step,
                    const float* b, int count, const Finish& finish) {
  constexpr int R = kLanes == 16 ? (M == 4 ? 6 : 12) : (M == 4 ? 3 : M == 2 ? 6 : 8);
  const int tiles = (rows + R - 1) / R;
  for (int t = 0, first = 0; t < tiles; ++t) {
    const int next = rows * (t + 1) / tiles;
    tile_of<R, M>(next - first, a + first * row, row, step, b, count, first, finish);
    first = next;
  }
}

template <int M>
void attend(const AttentionCall& call, int sample, int head, int first, int count) {
  constexpr int queries = M * static_cast<int>(kLanes);
  const float* q = call.q.data + sample * call.q.sample + head * call.q.head + first * call.q.token;
  const float* k = call.k.data + sample * call.k.sample + head * call.k.head;
  const float* v = call.v.data + sample * call.v.sample + head * call.v.head;
  float* out = call.out + sample * call.out_sample + head * call.out_head + first * call.out_token;
  float* scaled = call.scratch;
  float* scores = scaled + call.width * queries;
  float* output = scores + kAttentionKeys * queries;

  transpose<16>(q, call.q.token, count, call.width, scaled, queries,
                call.scale * 1.4426950408889634f);
  for (int d = 0; d < call.width; ++d) {
    for (int i = count; i < queries; ++i) scaled[d * queries + i] = 0;
  }
  for (int i = 0; i < call.value_width * queries; ++i) output[i] = 0;

  F32 highest[M], sum[M];
  for (int m = 0; m < M; ++m) {
    highest[m] = set1(-__FLT_MAX__);  // not -inf: keys with scores of -inf may come first
    sum[m] = zero();
  }
  for (int key = 0; key < call.keys; key += kAttentionKeys) {
    const int keys = call.keys - key < kAttentionKeys ? call.keys - key : kAttentionKeys;
    F32 largest[M], correction[M], here[M];
    for (int m = 0; m < M; ++m) largest[m] = highest[m];
    product<M>(keys, k + key * call.k.token, call.k.token, 1, scaled, call.width,
               KeepScores<M>{scores, largest});
    for (int m = 0; m < M; ++m) {
      correction[m] = exp2_negative(sub(highest[m], largest[m]));
      highest[m] = largest[m];
      here[m] = zero();
    }
    for (int j = 0; j < keys; ++j) {
      for (int m = 0; m < M; ++m) {
        float* at = scores + (j * M + m) * static_cast<int>(kLanes);
        const F32 p = exp2_negative(sub(load(at), highest[m]));
        store(at, p);
        here[m] = add(here[m], p);
      }
    }
    for (int m = 0; m < M; ++m) sum[m] = fma(sum[m], correction[m], here[m]);
    product<M>(call.value_width, v + key * call.v.token, 1, call.v.token, scores, keys,
               AddToOutput<M>{output, correction});
  }
  for (int m = 0; m < M; ++m) sum[m] = div(set1(1.0f), sum[m]);
  for (int d = 0; d < call.value_width; ++d) {
    for (int m = 0; m < M; ++m) {
      float* at = output + (d * M + m) * static_cast<int>(kLanes);
      store(at, mul(load(at), sum[m]));
    }
  }
  transpose<4>(output, queries, call.value_width, count, out, call.out_token, 1.0f);
}

void block(const AttentionCall& call, int sample, int head, int first, int count) {
  constexpr int lanes = static_cast<int>(kLanes);
  if (count <= lanes) {
    attend<1>(call, sample, head, first, count);
  } else if (count <= 2 * lanes) {
    attend<2>(call, sample, head, first, count);
  } else {
    attend<4>(call, sample, head, first, count);
  }
}

constexpr AttentionKernels kKernels = {static_cast<int>(kLanes), kVectors, block};

}  // namespace
}  // namespace fd
