// The matrix product kernel of one instruction set. The SIMD files include this header, so it holds
// no inline code.
#pragma once

#include <cstddef>

namespace fd {

// out[i, j] = (add_to_out ? out[i, j] : 0) + sum_k a[i, k] b[k, j]. The columns of b and out are
// adjacent; `a` has any strides.
struct MatmulTile {
  std::ptrdiff_t rows, columns, inner;
  const float* a;
  std::ptrdiff_t a_row, a_inner;
  const float* b;
  std::ptrdiff_t b_inner;
  float* out;
  std::ptrdiff_t out_row;
  bool add_to_out;
};

struct MatmulKernels {
  void (*tile)(const MatmulTile& tile);
};

extern const MatmulKernels kMatmulPlain;
extern const MatmulKernels kMatmulAvx2;    // only on x86-64
extern const MatmulKernels kMatmulAvx512;  // only on x86-64

}  // namespace fd
