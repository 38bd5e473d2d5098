// A convolution in a plan: one layer, packed for each algorithm that some regime runs it by.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "cpu/conv.h"
#include "plan/plan.h"
#include "plan/regime.h"
#include "plan/step.h"

namespace fd {

class ConvStep : public Step {
 public:
  ConvStep(const ConvShape& shape, const float* weight, const float* bias, const PlannedImage& in,
           const PlannedImage& out, PlannedEpilogue epilogue, const PlanOptions& options);

  // Settles the algorithm of a regime; tuner null: the heuristic's.
  void choose(const Regime& regime, Tuner* tuner);
  // Packs the weights for the algorithm chosen, where that has not been done.
  void pack(const Regime& regime);

  void run(const Frame& frame) const override;
  std::size_t scratch_floats(int samples) const override;
  std::string describe(int regime) const override;
  double flops() const override;
  std::size_t weight_bytes() const;

 private:
  struct Chosen {
    ConvChoice choice;
    std::shared_ptr<const Conv> conv;
    bool settled = false;
  };
  std::string key(const Regime& regime) const;
  std::shared_ptr<const Conv> packed(ConvAlgorithm algorithm);
  double measure(const Chosen& candidate, const Regime& regime) const;

  ConvShape shape_;
  const float* weight_;
  const float* bias_;
  PlannedImage in_, out_;
  PlannedEpilogue epilogue_;
  PlanOptions options_;
  Chosen chosen_[kRegimes];
  std::map<ConvAlgorithm, std::weak_ptr<const Conv>> packed_;
};

}  // namespace fd
