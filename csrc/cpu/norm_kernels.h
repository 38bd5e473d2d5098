// The norm kernels of one instruction set, as plain function pointers. The SIMD files include this
// header, so it holds no inline code.
#pragma once

#include <cstddef>

#include "cpu/norm.h"

namespace fd {

// What norm.cpp knows of each channel: y = (x - centre) * scale + shift. `centre` is the mean to
// some digits; what is left of it is in `shift`.
struct ChannelNorm {
  const float *centre, *scale, *shift;  // [channels]
};

struct NormKernels {
  // sums[i], i < count: the sum over all pixels of a sample of its channel first + i.
  void (*sums)(const NormCall& call, int sample, int first, int count, double* sums);
  // The sums of d = x - centre[first + i], and of d^2.
  void (*deviations)(const NormCall& call, int sample, int first, int count, const float* centre,
                     double* sums, double* squares);
  // Writes channels first ... first + count - 1 of a sample. gamma and beta are applied here where
  // `per_element`, else they are in scale and shift.
  void (*apply)(const NormCall& call, int sample, int first, int count, const ChannelNorm& norm,
                bool per_element);
  // Each of the pixels first ... first + count - 1 (row-major) of a sample over its own channels.
  void (*pixels)(const NormCall& call, int sample, std::ptrdiff_t first, std::ptrdiff_t count);
};

extern const NormKernels kNormPlain;
extern const NormKernels kNormAvx2;    // only on x86-64
extern const NormKernels kNormAvx512;  // only on x86-64

}  // namespace fd
