// An engine file's programs as plans, by binding time: what a request needs of a network.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "core/lease.h"
#include "plan/engine_file.h"
#include "plan/plan.h"
#include "plan/tuner.h"
#include "sampling/part.h"
#include "sampling/workspace.h"

namespace fd {

// How tables are computed: for as many lines at a time as a plan takes, by one thread.
constexpr Regime kLines{kMaxBlock, false};

class Network {
 public:
  Network(const EngineFile& file, const PlanOptions& options);

  const EngineFile& file() const { return file_; }
  const PlanOptions& options() const { return options_; }
  const Part& row() const { return row_; }
  const Part& request() const { return request_; }
  const Part& row_request() const { return row_request_; }
  const Part& step() const { return step_; }
  std::size_t block() const { return block_; }  // samples in one run by one thread
  // Lines of a part's tables in one run.
  std::size_t lines_at_once(const Part& part) const;
  // Samples of a request that are worked on at once, at most, where nobody looks on.
  std::size_t chunk() const;
  // The step's plan, and before it row_request's, where there is one, and when that is run.
  std::string describe(const Regime& regime) const;

  // Takes the heuristic's algorithms for every regime that may come.
  void settle();
  // Chooses algorithms and the block by measurement.
  void tune(Tuner& tuner, const std::function<void(std::size_t, std::size_t)>& progress);

  // Memory for one request.
  LeasePool<Workspace>::Lease lease() const { return workspaces_.take(); }
  // Makes sure that the step can run in these regimes (team: null, or one more), in this memory.
  void make_ready(const Regime& alone, const Regime* team, std::vector<WorkerMemory>& memory) const;
  // InvalidArgument where tables of so many rows, which `what` names, would take too much memory.
  void check_row_tables(std::size_t rows, const char* what) const;

 private:
  std::vector<Source> sources_of(const Plan& plan) const;
  void check_memory() const;
  std::size_t fitting_block(std::size_t most) const;
  WorkerNeeds worker_needs() const;
  // tune_network.cpp
  std::vector<Regime> regimes() const;
  double seconds_per_sample(std::size_t block);
  // error_budget.cpp: in bf16, the convolutions that are done more coarsely, in these regimes.
  void spend_error(Tuner& tuner, const std::vector<Regime>& regimes);
  std::vector<std::size_t> affordable(const Regime& regime, const std::vector<ConvStep*>& convs);
  std::vector<float> probe();

  const EngineFile& file_;
  PlanOptions options_;
  mutable Part row_, request_, row_request_, step_;  // the last two pack weights when first needed
  mutable std::mutex packing_;
  std::size_t block_ = 4;
  mutable LeasePool<Workspace> workspaces_;
};

}  // namespace fd
