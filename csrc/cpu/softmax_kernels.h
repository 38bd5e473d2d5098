// The softmax kernel of one instruction set, as a plain function pointer. The SIMD files include
// this header, so it holds no inline code.
#pragma once

#include <cstddef>

namespace fd {

struct SoftmaxKernels {
  // One row of `length` >= 1 adjacent elements; out may be in.
  void (*row)(const float* in, float* out, std::ptrdiff_t length);
};

extern const SoftmaxKernels kSoftmaxPlain;
extern const SoftmaxKernels kSoftmaxAvx2;    // only on x86-64
extern const SoftmaxKernels kSoftmaxAvx512;  // only on x86-64

}  // namespace fd
