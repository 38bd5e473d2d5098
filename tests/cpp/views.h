// Tensors for the tests of strided kernels: a shape laid out in some order of its dimensions, with
// gaps or broadcast, in memory of exactly that size (so that a sanitizer sees one element too far).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ops/view.h"

namespace views {

// Sizes with the sample first.
using Shape = std::vector<std::ptrdiff_t>;

inline fd::Extent extent_of(const Shape& shape) {
  fd::Extent extent;
  extent.rank = static_cast<int>(shape.size()) - 1;
  for (std::size_t i = 1; i < shape.size(); ++i) extent.size[i - 1] = shape[i];
  return extent;
}

constexpr float kGuard = 777.0f;  // what is in the gaps, and must stay there

struct Tensor {
  Shape shape, stride;
  std::vector<float> data;

  // order: the dimensions from the outermost to the innermost in memory; empty: as they stand.
  // `gap` more elements after each run of the innermost one. broadcast[i]: stride 0.
  explicit Tensor(const Shape& sizes, std::vector<int> order = {}, std::ptrdiff_t gap = 0,
                  std::vector<bool> broadcast = {})
      : shape(sizes), stride(sizes.size(), 0) {
    const int rank = static_cast<int>(sizes.size());
    for (int i = 0; order.size() < sizes.size(); ++i) order.push_back(i);
    broadcast.resize(sizes.size(), false);
    std::ptrdiff_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
      const auto d = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
      if (broadcast[d]) continue;
      stride[d] = step;
      step *= shape[d];
      if (i == rank - 1) step += gap;
    }
    std::ptrdiff_t last = 0;
    bool empty = false;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      empty = empty || shape[d] == 0;
      last += (shape[d] - 1) * stride[d];
    }
    data.assign(empty ? 0 : static_cast<std::size_t>(last + 1), kGuard);
  }

  fd::View view() {
    fd::View v;
    v.data = data.data();
    v.sample = stride[0];
    for (std::size_t i = 1; i < stride.size(); ++i) v.stride[i - 1] = stride[i];
    return v;
  }
  fd::ConstView const_view() const {
    fd::ConstView v;
    v.data = data.data();
    v.sample = stride[0];
    for (std::size_t i = 1; i < stride.size(); ++i) v.stride[i - 1] = stride[i];
    return v;
  }
  float& at(const Shape& index) {
    std::ptrdiff_t offset = 0;
    for (std::size_t d = 0; d < index.size(); ++d) offset += index[d] * stride[d];
    return data[static_cast<std::size_t>(offset)];
  }
};

// body(index) for every index of the shape.
template <class Body>
void for_each_index(const Shape& shape, Body&& body) {
  for (std::ptrdiff_t size : shape) {
    if (size == 0) return;
  }
  Shape index(shape.size(), 0);
  for (;;) {
    body(static_cast<const Shape&>(index));
    std::size_t d = shape.size();
    while (d > 0 && ++index[d - 1] == shape[d - 1]) index[--d] = 0;
    if (d == 0) return;
  }
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// Numbers in [low, high), the same for the same seed.
inline void fill_random(std::vector<float>& data, std::uint32_t seed, float low, float high) {
  std::uint32_t state = seed * 2654435761u + 1;
  for (float& value : data) {
    state = state * 1664525u + 1013904223u;
    value = low + (high - low) * static_cast<float>(state >> 8) * 5.9604645e-8f;
  }
}

}  // namespace views
