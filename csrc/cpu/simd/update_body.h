// A row of the sampler table on vectors; cpu/update.h has the formulas. Included by update_*.cpp
// after their vec_*.h; rules as in noise_body.h.
//
// Every product and every sum is rounded by itself, in the order of fastdiff/backends/eager.py, and
// no fma is used: memory is what this waits for, and so all instruction sets and eager torch give
// the same bits for the same model outputs and noise. nan goes through clamps, as in torch.
#pragma once

#include "cpu/update_kernels.h"

namespace fd {
namespace {

inline F32 read(const float* from, std::size_t lanes) {
  return lanes == kLanes ? load(from) : load_partial(from, lanes);
}

inline void write(float* to, F32 a, std::size_t lanes) {
  if (lanes == kLanes) {
    store(to, a);
  } else {
    store_partial(to, a, lanes);
  }
}

// make(i, lanes): the vector of elements i ... i + lanes - 1 of out.
template <class Make>
inline void fill_vectors(float* out, std::size_t count, const Make& make) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) write(out + i, make(i, kLanes), kLanes);
  if (i < count) write(out + i, make(i, count - i), count - i);
}

inline F32 weighted(float weight, F32 a) { return mul(set1(weight), a); }

inline F32 x0_of(const RowWeights& row, F32 x, F32 m) {
  const F32 x0 = add(weighted(row.x0_from_x, x), weighted(row.x0_from_m, m));
  // min and max return their second operand where either is nan.
  return min(set1(row.x0_hi), max(set1(row.x0_lo), x0));
}

void guide(const float* uncond, float scale, float factor, float* m, std::size_t count) {
  fill_vectors(m, count, [&](std::size_t i, std::size_t lanes) {
    const F32 u = read(uncond + i, lanes);
    const F32 guided = add(u, weighted(scale, sub(read(m + i, lanes), u)));
    return mul(guided, set1(factor));
  });
}

void clamp_output(const RowWeights& row, const float* x, float* m, std::size_t count) {
  fill_vectors(m, count, [&](std::size_t i, std::size_t lanes) {
    const F32 here = read(x + i, lanes);
    const F32 clamped = sub(x0_of(row, here, read(m + i, lanes)), weighted(row.x0_from_x, here));
    return div(clamped, set1(row.x0_from_m));
  });
}

void predicted_x0(const RowWeights& row, const float* x, const float* m, float* out,
                  std::size_t count) {
  fill_vectors(out, count, [&](std::size_t i, std::size_t lanes) {
    return x0_of(row, read(x + i, lanes), read(m + i, lanes));
  });
}

void sum(const RowSum& row, float* out, std::size_t count) {
  const RowWeights& w = *row.weights;
  fill_vectors(out, count, [&](std::size_t i, std::size_t lanes) {
    const F32 x = read(row.x + i, lanes), m = read(row.m + i, lanes);
    F32 total = add(weighted(w.x[0], x), weighted(w.m[0], m));
    for (int k = 0; k < row.count; ++k) {
      total = add(total, weighted(row.terms[k].weight, read(row.terms[k].data + i, lanes)));
    }
    if (w.x0 != 0) total = add(total, weighted(w.x0, x0_of(w, x, m)));
    if (row.z) total = add(total, weighted(w.noise, read(row.z + i, lanes)));
    return total;
  });
}

void at_level(const float* image, float alpha, const float* eps, float sigma, float* out,
              std::size_t count) {
  fill_vectors(out, count, [&](std::size_t i, std::size_t lanes) {
    return add(weighted(alpha, read(image + i, lanes)), weighted(sigma, read(eps + i, lanes)));
  });
}

void mix(const float* mask, const float* known, float* x, std::size_t count) {
  fill_vectors(x, count, [&](std::size_t i, std::size_t lanes) {
    const F32 anew = read(mask + i, lanes);
    return add(mul(anew, read(x + i, lanes)), mul(sub(set1(1.0f), anew), read(known + i, lanes)));
  });
}

void scale(const float* x, float by, float* out, std::size_t count) {
  fill_vectors(out, count,
               [&](std::size_t i, std::size_t lanes) { return weighted(by, read(x + i, lanes)); });
}

constexpr UpdateKernels kKernels = {guide, clamp_output, predicted_x0, sum, at_level, mix, scale};

}  // namespace
}  // namespace fd
