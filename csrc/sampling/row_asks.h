// What a row asks of the network, and who of a team answers which part of it.
#pragma once

#include <atomic>
#include <cstddef>

#include "sampling/trajectory.h"

namespace fd {

class RowAsks {
 public:
  RowAsks(const Stepper& stepper, const Trajectory& trajectory, std::size_t n,
          std::vector<Ask>& asks)
      : stepper_(stepper), trajectory_(trajectory), n_(n), asks_(asks) {}

  // Row k's asks, by one member, while nobody answers the last row's.
  void write(std::size_t k);
  // Answers them, by all members of the team.
  void answer(Team& team);

 private:
  const Stepper& stepper_;
  const Trajectory& trajectory_;
  const std::size_t n_;
  std::vector<Ask>& asks_;
  std::size_t count_ = 0;
  std::atomic<std::size_t> next_block_{0};
};

}  // namespace fd
