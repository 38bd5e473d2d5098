// The algorithms behind Conv::make, and what they share. Included by conv_*.cpp, and by
// pixelcnn/, whose stages are packed like direct convolutions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "core/pages.h"
#include "cpu/conv.h"
#include "cpu/conv_kernels.h"
#include "cpu/conv_region.h"

namespace fd {

// Shapes are checked already (check_conv_shape).
std::unique_ptr<RegionConv> make_direct_conv(const ConvShape& shape, Precision precision, Isa isa,
                                             const float* weight, const float* bias);
std::unique_ptr<RegionConv> make_winograd_conv(const ConvShape& shape, int tile,
                                               Precision precision, Isa isa, const float* weight,
                                               const float* bias);
std::unique_ptr<RegionConv> make_depthwise_conv(const ConvShape& shape, Isa isa,
                                                const float* weight, const float* bias);
// `conv` with the shape's pool behind it.
std::unique_ptr<Conv> make_pooled_conv(const ConvShape& shape, Isa isa,
                                       std::unique_ptr<RegionConv> conv);

// Whether the algorithm can do the shape in this precision.
bool conv_algorithm_fits(const ConvShape& shape, ConvAlgorithm algorithm, Precision precision);

// Tiles or pixels that an algorithm works on at a time where a choice does not say.
constexpr int default_block(ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::direct:
      return 64;
    case ConvAlgorithm::winograd2:
    case ConvAlgorithm::depthwise:
      return 32;
    case ConvAlgorithm::winograd4:
      return 16;
  }
  return 1;
}
constexpr int block_of(int block, ConvAlgorithm algorithm) {
  return block > 0 ? block : default_block(algorithm);
}

// Zeroed memory that starts at a cache line.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t size)
      : size_(size), data_(static_cast<char*>(allocate_pages(size + 64))) {
    std::fill(data_.get(), data_.get() + size + 64, char{0});
  }
  void* at(std::size_t offset) { return data_.get() + offset; }
  const void* at(std::size_t offset) const { return data_.get() + offset; }
  std::size_t size() const { return size_; }

 private:
  struct Delete {
    void operator()(char* data) const { free_pages(data); }
  };
  std::size_t size_;
  std::unique_ptr<char, Delete> data_;
};

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
constexpr int divide_up(int n, int by) { return (n + by - 1) / by; }

// Hands out cache-line aligned pieces of a call's scratch; over null it only counts.
class Scratch {
 public:
  explicit Scratch(float* base) : base_(reinterpret_cast<char*>(base)) {}
  template <class T>
  T* take(std::size_t count) {
    char* here = base_ ? base_ + used_ : nullptr;
    used_ += round_up(count * sizeof(T), 64);
    return reinterpret_cast<T*>(here);
  }
  std::size_t floats() const { return used_ / sizeof(float); }

 private:
  char* base_;
  std::size_t used_ = 0;
};

// The part's range of `count` units.
inline Range part_of(std::ptrdiff_t count, const Share& share) {
  return {count * share.part / share.parts, count * (share.part + 1) / share.parts};
}

// To nearest even; nan stays nan.
inline std::uint32_t bf16_of(float value) {
  std::uint32_t bits;
  static_assert(sizeof(bits) == sizeof(value), "float32");
  __builtin_memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits >> 16) | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// How weights and inputs are laid out in the inner sum.
struct ElementLayout {
  bool bf16;
  int channels_per_element() const { return bf16 ? 2 : 1; }
  std::ptrdiff_t depth(int channels) const { return divide_up(channels, channels_per_element()); }

  // `width` channels' weights of input channel k into the panel's rows at `to`.
  template <class Weights>  // float or double [width]
  void put(void* to, int width, int k, const Weights* weights) const {
    if (!bf16) {
      float* row = static_cast<float*>(to) + std::ptrdiff_t{k} * width;
      for (int i = 0; i < width; ++i) row[i] = static_cast<float>(weights[i]);
      return;
    }
    auto* row = static_cast<std::uint32_t*>(to) + std::ptrdiff_t{k / 2} * width;
    for (int i = 0; i < width; ++i) {
      const std::uint32_t half = bf16_of(static_cast<float>(weights[i]));
      row[i] = k % 2 == 0 ? half : (row[i] & 0xffffu) | half << 16;
    }
  }
};

}  // namespace fd
