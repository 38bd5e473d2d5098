#include "sampling/row_asks.h"

#include <algorithm>
#include <cstdint>

#include "sampling/blocks.h"

namespace fd {

// A sample's two asks of a guided row are neighbours: they read the same x.
void RowAsks::write(std::size_t k) {
  next_block_.store(0, std::memory_order_relaxed);
  Ask* ask = asks_.data();
  const float* seen = trajectory_.seen(k);
  for (std::size_t sample = 0; sample < n_; ++sample) {
    const auto add = [&](bool unconditional, float* m) {
      *ask++ = {static_cast<std::uint32_t>(sample), static_cast<std::int32_t>(k), unconditional,
                trajectory_.of_sample(seen, sample), trajectory_.of_sample(m, sample)};
    };
    if (trajectory_.guided(k)) add(true, trajectory_.uncond());
    add(false, trajectory_.m(k));
  }
  count_ = static_cast<std::size_t>(ask - asks_.data());
}

// Blocks to whoever is free; or where there are fewer asks than members, one after the other by all
// together.
void RowAsks::answer(Team& team) {
  const std::size_t most = stepper_.max_asks();
  const auto members = static_cast<std::size_t>(team.size());
  const Ask* asks = asks_.data();
  if (count_ < members) {
    for (std::size_t first = 0; first < count_; first += most) {
      if (first != 0) team.barrier();
      stepper_.predict(asks + first, std::min(most, count_ - first), team, 0);
    }
    return;
  }
  const Blocks blocks = balanced_blocks(count_, members, most);
  Team alone = Team::alone();
  for (;;) {
    const std::size_t block = next_block_.fetch_add(1, std::memory_order_relaxed);
    if (block >= blocks.count) return;
    const std::size_t first = blocks.first(block);
    stepper_.predict(asks + first, blocks.first(block + 1) - first, alone, team.rank());
  }
}

}  // namespace fd
