// A network bound to one request: its times' and contexts' values computed, memory at hand.
#pragma once

#include <vector>

#include "sampling/network.h"

namespace fd {

class PlanStepper : public Stepper {
 public:
  PlanStepper(const Network& network, const float* times, std::size_t rows, const float* context,
              std::size_t n, std::size_t fewest, std::size_t most);

  std::size_t max_asks() const override { return network_.block(); }
  int workers() const override { return network_.options().threads; }
  void predict(const Ask* asks, std::size_t count, Team& team, int worker) const override;

  // With the time of each step of the plan added to seconds [plan.step_count()].
  void predict(const Ask* asks, std::size_t count, Team& team, int worker, double* seconds) const;

 private:
  // An input of the step: x, or a table with a line for each row or sample.
  struct Input {
    enum Kind { x, by_row, by_sample } kind = x;
    const float* table = nullptr;
    std::ptrdiff_t floats = 0;
  };
  const float* address(const Input& input, const Ask& ask) const;
  WorkspaceSize workspace_size() const;

  const Network& network_;
  Regime alone_, together_;  // by one thread, and by a team
  std::size_t n_;            // line n of a table by sample is the unconditional one
  AlignedFloats times_, contexts_;
  Computed by_row_, by_sample_;
  std::vector<Input> inputs_;
  std::ptrdiff_t elements_;
  mutable std::vector<std::vector<Bound>> bounds_;  // of the inputs, each member's
  WorkspacePool::Lease memory_;
};

}  // namespace fd
