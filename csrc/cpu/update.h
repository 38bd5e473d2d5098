// One row of a sampler table on one sample, or on a range of its elements, in one pass over memory:
//
//   m_k     = uncond + g (cond - uncond), then m_k factor          under guidance
//   x0      = clamp(x0_from_x x_k + x0_from_m m_k, lo, hi)
//   m_k     = (x0 - x0_from_x x_k) / x0_from_m                     where clamp_m
//   x_{k+1} = x[0] x_k + m[0] m_k + sum_j x[j] x_{k-j} + sum_j m[j] m_{k-j} + x0 x0 + noise z_k
//   x_{k+1} = mask x_{k+1} + (1 - mask) (alpha_{k+1} image + sigma_{k+1} eps)    under a mask
//
// with z_k = normal(seed, step k, stream 1) and eps = normal(seed, step 0, stream 0), both made
// where they are used. Float32 throughout, each operation rounded by itself in this order (the
// order of fastdiff/backends/eager.py): the bits depend on neither the cut into ranges nor, but for
// the noise's, the instruction set. What a weight of 0 belongs to is not read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cpu_features.h"
#include "cpu/update_kernels.h"

namespace fd {

constexpr std::uint32_t kStreamInit = 0, kStreamStep = 1;  // docs/architecture.md, Noise

// Columns of a sampler table's row, in the order of fastdiff/samplers/table.py.
enum TableColumn : int {
  kColumnTime,
  kColumnInScale,
  kColumnM,                        // and the three after it
  kColumnX = kColumnM + kHistory,  // and the three after it
  kColumnX0 = kColumnX + kHistory,
  kColumnX0FromX,
  kColumnX0FromM,
  kColumnX0Lo,
  kColumnX0Hi,
  kColumnClampM,
  kColumnNoise,
  kColumnAlpha,
  kColumnSigma,
  kColumnCount,
};

RowWeights row_weights(const double* row);  // [kColumnCount], as the table has it

// A part of an image that a mask keeps, in what a row makes.
struct Kept {
  const float* mask = nullptr;   // [plane], 1 where x is kept; null: nothing is mixed
  const float* image = nullptr;  // [elements]
  std::size_t plane = 0;         // elements of a channel, along which the mask repeats
  float alpha = 1, sigma = 0;    // of what is made; sigma 0: no noise
};

// Pointers are to a whole sample's elements, 0 first.
struct SampleUpdate {
  const RowWeights* row = nullptr;
  std::uint64_t seed = 0;
  std::uint32_t step = 0;               // k
  const float* x[kHistory] = {};        // x_k, x_{k-1}, ...; from x[1] on null where not there
  float* m = nullptr;                   // the output asked for in, m_k out
  const float* older_m[kHistory] = {};  // [j] is m_{k-j}, [0] unused; null where not there
  const float* uncond = nullptr;        // null: no guidance, m is as the network has given it
  float guidance = 1, factor = 1;       // g, and guidance_factor
  Kept kept;
  float* out = nullptr;     // x_{k+1}; no other array, unless it is one of x
  float* scaled = nullptr;  // in_scale * x_{k+1} for the next row's network; null: not wanted
  float in_scale = 1;       // of the next row
};

// Elements begin ... end - 1; `begin` is a multiple of 4. Whatever the ranges, each element's
// answer is the same.
void update(const SampleUpdate& update, std::size_t begin, std::size_t end, Isa isa);

// x_0, mixed under a mask, and what row 0's network sees of it.
struct SampleStart {
  std::uint64_t seed = 0;
  const float* x_T = nullptr;    // null: by the two below
  const float* image = nullptr;  // alpha * image + sigma * eps; null: init_scale * eps
  float alpha = 0, sigma = 0, init_scale = 1;
  Kept kept;
  float* out = nullptr;
  float* scaled = nullptr;
  float in_scale = 1;
};

void start(const SampleStart& start, std::size_t begin, std::size_t end, Isa isa);

// out = clamp(x0_from_x x + x0_from_m m, lo, hi)
void predicted_x0(const RowWeights& row, const float* x, const float* m, float* out,
                  std::size_t count, Isa isa);

// What guidance rescale multiplies m = uncond + g (cond - uncond) by, over a whole sample (Lin et
// al. 2024, equations 15 and 16): 1 + phi (std(cond) / std(m) - 1), and 1 where phi is 0 or m has
// no deviation. Deviations have n - 1 under the root and are accumulated in float64; the same bits
// on every instruction set.
float guidance_factor(const float* uncond, const float* cond, float g, float phi,
                      std::size_t count);

// cpu/reference/update.cpp: one element of a row in float64 with the table's own float64 weights.
// `x` and `m`: x_k ... x_{k-3} and m_k ... m_{k-3}; m[0] is replaced where the row clamps it.
double reference_update(const double* row, const double* x, double* m, double z);
double reference_x0(const double* row, double x, double m);

}  // namespace fd
