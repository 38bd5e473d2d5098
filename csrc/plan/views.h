// A planned tensor as the view that a kernel takes.
#pragma once

#include <algorithm>

#include "ops/view.h"
#include "plan/step.h"
#include "plan/tensor.h"

namespace fd {

inline ConstView const_view(const Tensor& tensor, const Frame& frame) {
  const Bound bound = frame.at(tensor.place);
  ConstView view{bound.data, bound.sample, {}};
  std::copy(tensor.stride.begin(), tensor.stride.end(), view.stride);
  return view;
}

inline View view(const Tensor& tensor, const Frame& frame) {
  const Bound bound = frame.at(tensor.place);
  View view{bound.data, bound.sample, {}};
  std::copy(tensor.stride.begin(), tensor.stride.end(), view.stride);
  return view;
}

}  // namespace fd
