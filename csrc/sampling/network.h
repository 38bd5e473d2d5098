// An engine file's programs as plans: what a request needs of a network, by binding time.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "plan/engine_file.h"
#include "plan/plan.h"
#include "plan/tuner.h"
#include "sampling/stepper.h"
#include "sampling/workspace.h"

namespace fd {

// Outputs of a part of the program, [count, floats] each.
struct Computed {
  std::vector<AlignedFloats> values;
};

class PlanStepper;

class Network {
 public:
  Network(const EngineFile& file, const PlanOptions& options);

  const Plan& step() const { return step_; }
  const PlanOptions& options() const { return options_; }
  std::size_t block() const { return block_; }  // samples in one run by one thread
  // Samples of a request that are worked on at once, at most, where nobody looks on.
  std::size_t chunk() const;

  // Takes the heuristic's algorithms for every regime that may come.
  void settle();
  // Chooses algorithms and the block by measurement.
  void tune(Tuner& tuner, const std::function<void(std::size_t, std::size_t)>& progress);
  // A stepper for `rows` times and n contexts ([n, context_width], null where the model takes none
  // or all are unconditional), asked for `fewest` to `most`
  // evaluations a row. Evaluates what depends on those
  // alone.
  std::unique_ptr<PlanStepper> stepper(const float* times, std::size_t rows, const float* context,
                                       std::size_t n, std::size_t fewest, std::size_t most) const;

 private:
  friend class PlanStepper;
  Computed compute(const Plan& plan, const std::vector<const float*>& inputs,
                   std::size_t count) const;
  std::vector<Regime> regimes() const;
  double seconds_per_sample(std::size_t block);
  // error_budget.cpp: in bf16, the convolutions that are done more coarsely, in these regimes.
  void spend_error(Tuner& tuner, const std::vector<Regime>& regimes);
  std::vector<std::size_t> affordable(const Regime& regime, const std::vector<ConvStep*>& convs);
  std::vector<float> probe();
  void check_memory() const;
  // Makes sure that the step can run in this regime. Thread-safe.
  void ready(const Regime& regime) const;

  const EngineFile& file_;
  PlanOptions options_;
  Plan row_, request_;
  mutable Plan step_;  // packs weights when they are first needed
  std::size_t block_ = 4;
  mutable std::mutex packing_;
  mutable bool packed_[kRegimes] = {};
  mutable WorkspacePool workspaces_;
};

}  // namespace fd
