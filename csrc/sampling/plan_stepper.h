// A network bound to one request: what follows from its times and contexts computed, memory at
// hand.
#pragma once

#include "sampling/network.h"
#include "sampling/stepper.h"
#include "sampling/workspace.h"

namespace fd {

class PlanStepper : public Stepper {
 public:
  // All memory is the workspace's, and for as long as this lives nobody else's.
  PlanStepper(const Network& network, const Conditions& conditions, Workspace& workspace);

  std::size_t max_asks() const override { return network_.block(); }
  int workers() const override { return network_.options().threads; }
  void predict(const Ask* asks, std::size_t count, Team& team, int worker) const override;

  // With the time of each step of the plans run added to `seconds`: those of row_request, where its
  // values are not stored, and then the step's.
  void predict(const Ask* asks, std::size_t count, Team& team, int worker, double* seconds) const;

 private:
  const Network& network_;
  RequestValues& values_;
  std::vector<WorkerMemory>& workers_;
  Regime alone_, together_;  // by one thread, and by a team
};

}  // namespace fd
