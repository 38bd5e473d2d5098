#include "plan/place_buffers.h"

#include <algorithm>
#include <numeric>

namespace fd {

std::ptrdiff_t place_buffers(std::vector<Buffer>& buffers) {
  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return buffers[a].floats > buffers[b].floats;
  });
  std::vector<std::size_t> placed;  // by offset
  std::ptrdiff_t whole = 0;
  for (std::size_t index : order) {
    Buffer& buffer = buffers[index];
    std::ptrdiff_t offset = 0;
    for (std::size_t other_index : placed) {
      const Buffer& other = buffers[other_index];
      if (other.last < buffer.first || buffer.last < other.first) continue;
      if (offset + buffer.floats <= other.offset) break;
      offset = std::max(offset, other.offset + other.floats);
    }
    buffer.offset = offset;
    whole = std::max(whole, offset + buffer.floats);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), index,
                                   [&](std::size_t a, std::size_t b) {
                                     return buffers[a].offset < buffers[b].offset;
                                   }),
                  index);
  }
  return whole;
}

}  // namespace fd
