#include "cpu/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fd {

template <class Real>
std::vector<Real> attention_reference(const AttentionCall& call) {
  std::vector<Real> out;
  std::vector<Real> p(static_cast<std::size_t>(call.keys));
  for (int s = 0; s < call.samples; ++s) {
    for (int n = 0; n < call.queries; ++n) {
      for (int h = 0; h < call.heads; ++h) {
        const float* q = call.q.data + s * call.q.sample + h * call.q.head + n * call.q.token;
        const float* k = call.k.data + s * call.k.sample + h * call.k.head;
        const float* v = call.v.data + s * call.v.sample + h * call.v.head;
        Real largest = -std::numeric_limits<Real>::infinity(), sum = 0;
        for (int j = 0; j < call.keys; ++j) {
          Real dot = 0;
          for (int d = 0; d < call.width; ++d) dot += Real{q[d]} * Real{k[j * call.k.token + d]};
          p[static_cast<std::size_t>(j)] = dot * Real{call.scale};
          largest = std::max(largest, p[static_cast<std::size_t>(j)]);
        }
        for (Real& x : p) sum += x = std::exp(x - largest);
        for (int d = 0; d < call.value_width; ++d) {
          Real y = 0;
          for (int j = 0; j < call.keys; ++j) {
            y += p[static_cast<std::size_t>(j)] * Real{v[j * call.v.token + d]};
          }
          out.push_back(y / sum);
        }
      }
    }
  }
  return out;
}

template std::vector<double> attention_reference(const AttentionCall&);
template std::vector<float> attention_reference(const AttentionCall&);

}  // namespace fd
