// The distinct contexts of a request. Classes and prompts repeat, and what follows from a context
// is computed once for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fd {

class Contexts {
 public:
  // Those of n samples, [n, width] (null: zeros for all); with `unconditional`, zeros besides.
  // Told apart by their bits, in the order in which they come first.
  void find(const float* context, std::size_t n, std::size_t width, bool unconditional);

  std::size_t count() const { return count_; }
  const std::vector<float>& values() const { return values_; }  // [count, width]
  std::size_t of_sample(std::size_t sample) const { return index_[sample]; }
  std::size_t unconditional() const { return unconditional_; }  // only where it was asked for

 private:
  std::size_t count_ = 0, unconditional_ = 0;
  std::vector<float> values_, zeros_;
  std::vector<std::uint32_t> index_, order_;
};

}  // namespace fd
