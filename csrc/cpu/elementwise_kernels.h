// The elementwise kernels of one instruction set, as plain function pointers over rows. The SIMD
// files include this header, so it holds no inline code.
#pragma once

#include <cstddef>

#include "ops/epilogue.h"

namespace fd {

// An operand of a row: adjacent elements, or one for all (step 0).
struct RowOperand {
  const float* data;
  std::size_t step;  // 0 or 1
};

struct ElementwiseKernels {
  // out[i] = f(a[i]), i < count; out may be a.
  void (*unary)(Unary kind, const float* a, float* out, std::size_t count);
  // out[i] = a[i] op b[i]; out may be a or b. All but pow, which has no vector form.
  void (*binary)(Binary kind, RowOperand a, RowOperand b, float* out, std::size_t count);
};

extern const ElementwiseKernels kElementwisePlain;
extern const ElementwiseKernels kElementwiseAvx2;    // only on x86-64
extern const ElementwiseKernels kElementwiseAvx512;  // only on x86-64

}  // namespace fd
