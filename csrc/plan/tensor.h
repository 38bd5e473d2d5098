// Where a value of a program is and how it lies there. Reshapes, permutations, slices and
// broadcasts only change this, and move nothing.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ops/view.h"

namespace fd {

// What memory a value is in; which addresses these are is known when the plan runs.
struct Place {
  enum Kind {
    none,
    arena,     // a buffer of the plan's own
    constant,  // the same for every sample
    input,     // the caller's
    output,    // the caller's
  };
  Kind kind = none;
  int index = 0;  // of the buffer, input or output
  const float* constant_data = nullptr;
  std::ptrdiff_t offset = 0;  // elements
};

// Element (i0, i1, ...) of a sample is at place + i0 * stride[0] + ...
struct Tensor {
  Place place;
  std::vector<std::ptrdiff_t> size, stride;

  int rank() const { return static_cast<int>(size.size()); }
  std::ptrdiff_t elements() const;
  // Whether the dimensions from `first` on lie row-major without gaps.
  bool dense_from(int first) const;
  bool dense() const { return dense_from(0); }
  // Whether some order of the dimensions is without gaps and repeats.
  bool dense_in_some_order() const;

  Extent extent() const;  // InvalidArgument above kMaxRank
};

std::vector<std::ptrdiff_t> row_major(const std::vector<std::ptrdiff_t>& size);
// Strides with the first dimension adjacent and the others row-major: [C, H, W] as H, W, C.
std::vector<std::ptrdiff_t> channels_last(const std::vector<std::ptrdiff_t>& size);

// The same elements under another shape, where strides can say it: (true, view).
bool reshaped(const Tensor& tensor, const std::vector<std::ptrdiff_t>& size, Tensor* view);
Tensor permuted(const Tensor& tensor, const std::vector<int>& order);
Tensor sliced(const Tensor& tensor, int dim, std::ptrdiff_t start, std::ptrdiff_t size,
              std::ptrdiff_t step);
// With dimensions of size 1 repeated, and new ones in front.
Tensor broadcast_to(const Tensor& tensor, const std::vector<std::ptrdiff_t>& size);

}  // namespace fd
