#include "sampling/contexts.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace fd {

void Contexts::find(const float* context, std::size_t n, std::size_t width, bool unconditional) {
  zeros_.assign(width, 0.0f);
  values_.clear();
  if (context == nullptr) {
    values_ = zeros_;
    index_.assign(n, 0);
    count_ = 1;
    unconditional_ = 0;
    return;
  }
  // The zeros stand behind the samples' own, as sample n.
  const auto given = [&](std::uint32_t i) { return i < n ? context + i * width : zeros_.data(); };
  const auto difference = [&](std::uint32_t a, std::uint32_t b) {
    return std::memcmp(given(a), given(b), width * sizeof(float));
  };
  order_.resize(n + (unconditional ? 1 : 0));
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) {
    const int order = difference(a, b);
    return order != 0 ? order < 0 : a < b;
  });
  // Equal ones are neighbours now, the first of them in front: who that is, for each ...
  index_.resize(order_.size());
  for (std::size_t k = 0; k < order_.size(); ++k) {
    const bool known = k > 0 && difference(order_[k - 1], order_[k]) == 0;
    index_[order_[k]] = known ? index_[order_[k - 1]] : order_[k];
  }
  // ... and then that one's place among the distinct.
  count_ = 0;
  for (std::uint32_t i = 0; i < index_.size(); ++i) {
    if (index_[i] != i) {
      index_[i] = index_[index_[i]];
      continue;
    }
    values_.insert(values_.end(), given(i), given(i) + width);
    index_[i] = static_cast<std::uint32_t>(count_++);
  }
  unconditional_ = unconditional ? index_[n] : 0;
}

}  // namespace fd
