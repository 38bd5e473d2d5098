// The sampler update's kernels of one instruction set. The SIMD files include this header, so it
// holds no inline code.
#pragma once

#include <cstddef>

namespace fd {

constexpr int kHistory = 4;  // as far back as a row looks: x_k ... x_{k-3}, m_k ... m_{k-3}

// A row of a sampler table (fastdiff/samplers/table.py), each weight rounded once from float64.
// Without the time, which only the network sees.
struct RowWeights {
  float in_scale = 1;
  float m[kHistory] = {};
  float x[kHistory] = {};
  float x0 = 0, x0_from_x = 0, x0_from_m = 0, x0_lo = 0, x0_hi = 0;
  bool clamp_m = false;
  float noise = 0, alpha = 0, sigma = 0;
};

struct WeightedArray {
  const float* data;
  float weight;
};

// What a row adds up, in the order in which it does: weight x[0] * x + weight m[0] * m, then the
// terms, then the clamped x0 where its weight is not 0, then noise * z where z is not null.
struct RowSum {
  const RowWeights* weights;
  const float* x;
  const float* m;
  int count = 0;  // of terms
  WeightedArray terms[2 * kHistory - 2];
  const float* z = nullptr;
};

// Each over `count` elements of one sample; outputs overlap no input unless they are it.
struct UpdateKernels {
  // m = (uncond + scale * (m - uncond)) * factor, m being the conditional output before.
  void (*guide)(const float* uncond, float scale, float factor, float* m, std::size_t count);
  // m = (x0 - x0_from_x * x) / x0_from_m
  void (*clamp_output)(const RowWeights& row, const float* x, float* m, std::size_t count);
  // out = clamp(x0_from_x * x + x0_from_m * m, x0_lo, x0_hi)
  void (*predicted_x0)(const RowWeights& row, const float* x, const float* m, float* out,
                       std::size_t count);
  void (*sum)(const RowSum& row, float* out, std::size_t count);
  // out = alpha * image + sigma * eps
  void (*at_level)(const float* image, float alpha, const float* eps, float sigma, float* out,
                   std::size_t count);
  // x = mask * x + (1 - mask) * known
  void (*mix)(const float* mask, const float* known, float* x, std::size_t count);
  void (*scale)(const float* x, float by, float* out, std::size_t count);  // out = by * x
};

extern const UpdateKernels kUpdatePlain;
extern const UpdateKernels kUpdateAvx2;    // only on x86-64
extern const UpdateKernels kUpdateAvx512;  // only on x86-64

}  // namespace fd
