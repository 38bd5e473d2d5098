// Asks cut into blocks, one call of the network each.
#pragma once

#include <algorithm>
#include <cstddef>

namespace fd {

struct Blocks {
  std::size_t asks = 0, count = 0;
  std::size_t first(std::size_t block) const { return asks * block / count; }  // of block's asks
};

// Blocks of at most `most` asks for `members` threads: as few as there can be with the same number
// of blocks for every thread, and their sizes differ by one at most. 9 asks, at most 8 in a block,
// on 2 threads: 5 and 4, rather than 8 and 1.
inline Blocks balanced_blocks(std::size_t asks, std::size_t members, std::size_t most) {
  const std::size_t needed = (asks + most - 1) / most;
  return {asks, std::min(asks, (needed + members - 1) / members * members)};
}

}  // namespace fd
