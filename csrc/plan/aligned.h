// Floats that begin on a cache line, in large pages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "core/pages.h"

namespace fd {

class AlignedFloats {
 public:
  AlignedFloats() = default;
  AlignedFloats(AlignedFloats&& other) noexcept { *this = std::move(other); }
  AlignedFloats& operator=(AlignedFloats&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  explicit AlignedFloats(std::size_t size) : size_(size) {
    if (size > SIZE_MAX / sizeof(float)) throw std::bad_alloc();
    data_.reset(static_cast<float*>(allocate_pages(sizeof(float) * size)));
  }

  float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

  // Room for at least `size`; what was held is lost where there was less. Grows by half at least,
  // since pages that are given back are not cut again before all of their chunk are.
  void hold(std::size_t size) {
    if (size <= size_) return;
    size = std::max(size, size_ + size_ / 2);
    *this = AlignedFloats();
    *this = AlignedFloats(size);
  }

 private:
  struct Free {
    void operator()(float* data) const { free_pages(data); }
  };
  std::size_t size_ = 0;
  std::unique_ptr<float, Free> data_;
};

}  // namespace fd
