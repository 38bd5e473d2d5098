// A convolution in a plan: one layer, packed for each algorithm that some regime runs it by.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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
  // What was chosen for a regime, and another choice instead.
  const ConvChoice& choice(const Regime& regime) const { return chosen_[regime.index()].choice; }
  void set(const Regime& regime, const ConvChoice& choice);
  // The heuristic's choice in float32; F(4x4) in bf16, where the layer can have it.
  ConvChoice float32_choice(const Regime& regime) const;
  bool coarse(const Regime& regime, ConvChoice* choice) const;
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
  Chosen fastest(const std::string& key, const std::vector<ConvChoice>& choices,
                 const Regime& regime, Tuner& tuner);
  std::shared_ptr<const Conv> packed(const ConvChoice& choice);
  int parts(const Regime& regime) const { return regime.team ? options_.threads : 1; }
  double measure(const Chosen& candidate, const Regime& regime) const;

  ConvShape shape_;
  const float* weight_;
  const float* bias_;
  PlannedImage in_, out_;
  PlannedEpilogue epilogue_;
  PlanOptions options_;
  Chosen chosen_[kRegimes];
  std::map<std::pair<ConvAlgorithm, Precision>, std::weak_ptr<const Conv>> packed_;
};

}  // namespace fd
