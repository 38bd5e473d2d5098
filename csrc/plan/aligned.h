// Floats that begin on a cache line.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace fd {

class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::size_t size)
      : size_(size),
        data_(static_cast<float*>(
            ::operator new[](sizeof(float) * (size > 0 ? size : 1), std::align_val_t{64}))) {}

  float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Delete {
    void operator()(float* data) const { ::operator delete[](data, std::align_val_t{64}); }
  };
  std::size_t size_ = 0;
  std::unique_ptr<float, Delete> data_;
};

}  // namespace fd
