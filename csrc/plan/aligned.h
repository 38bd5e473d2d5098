// Floats that begin on a cache line, in large pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "core/pages.h"

namespace fd {

class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::size_t size) : size_(size) {
    if (size > SIZE_MAX / sizeof(float)) throw std::bad_alloc();
    data_.reset(static_cast<float*>(allocate_pages(sizeof(float) * size)));
  }

  float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* data) const { free_pages(data); }
  };
  std::size_t size_ = 0;
  std::unique_ptr<float, Free> data_;
};

}  // namespace fd
