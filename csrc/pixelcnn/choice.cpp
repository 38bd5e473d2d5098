#include "pixelcnn/choice.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "cpu/dispatch.h"
#include "cpu/softmax_kernels.h"

namespace fd {
namespace {

// Leaves the k largest, and those equal to the k-th.
void keep_largest(float* logits, int levels, int k, float* scratch) {
  std::copy(logits, logits + levels, scratch);
  std::nth_element(scratch, scratch + k - 1, scratch + levels, std::greater<float>());
  for (int i = 0; i < levels; ++i) {
    if (logits[i] < scratch[k - 1]) logits[i] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

int choose_level(const float* logits, int levels, float u, const ChoiceRule& rule, Isa isa,
                 float* scratch) {
  const float* from = logits;
  if (rule.temperature != 1 || (rule.top_k > 0 && rule.top_k < levels)) {
    for (int i = 0; i < levels; ++i) scratch[i] = logits[i] / rule.temperature;
    if (rule.top_k > 0 && rule.top_k < levels) {
      keep_largest(scratch, levels, rule.top_k, scratch + levels);
    }
    from = scratch;
  }
  FD_KERNELS(isa, kSoftmax).row(from, scratch, levels);
  double part[4] = {0, 0, 0, 0};
  int last = 0;
  for (int i = 0; i < levels; ++i) {
    part[i % 4] += static_cast<double>(scratch[i]);
    last = scratch[i] > 0 ? i : last;
  }
  const double limit = static_cast<double>(u) * ((part[0] + part[1]) + (part[2] + part[3]));
  double sum = 0;
  int level = 0;
  for (; level < last; ++level) {
    sum += static_cast<double>(scratch[level]);
    if (sum > limit) break;
  }
  return level;
}

double log_probability(const float* logits, int levels, int level) {
  const double most = static_cast<double>(*std::max_element(logits, logits + levels));
  double sum = 0;
  for (int i = 0; i < levels; ++i) sum += std::exp(static_cast<double>(logits[i]) - most);
  return static_cast<double>(logits[level]) - most - std::log(sum);
}

}  // namespace fd
