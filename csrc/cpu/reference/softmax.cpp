#include "cpu/reference/softmax.h"

#include <algorithm>
#include <cmath>

namespace fd {

std::vector<double> softmax_reference(const SoftmaxCall& call) {
  std::vector<double> out;
  for (int s = 0; s < call.samples; ++s) {
    for (std::ptrdiff_t r = 0; r < call.rows; ++r) {
      const float* x = call.in + s * call.in_sample + r * call.in_stride;
      double largest = -HUGE_VAL, sum = 0;
      for (std::ptrdiff_t i = 0; i < call.length; ++i) largest = std::max(largest, double{x[i]});
      for (std::ptrdiff_t i = 0; i < call.length; ++i) sum += std::exp(double{x[i]} - largest);
      for (std::ptrdiff_t i = 0; i < call.length; ++i) {
        out.push_back(std::exp(double{x[i]} - largest) / sum);
      }
    }
  }
  return out;
}

}  // namespace fd
