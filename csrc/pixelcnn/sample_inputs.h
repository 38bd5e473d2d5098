// What an autoregressive network computes of the context alone, once for each sample.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "pixelcnn/graph.h"
#include "plan/aligned.h"
#include "plan/engine_file.h"
#include "plan/plan.h"

namespace fd {

class SampleInputs {
 public:
  SampleInputs(const EngineFile& file, const PixelGraph& graph, const PlanOptions& options);

  struct Memory {
    AlignedFloats contexts, arena, scratch;
    std::vector<AlignedFloats> outputs;
    std::vector<const float*> values;  // by the graph's per_sample: [samples, channels]
  };
  Memory memory(int samples) const;
  // `context` [samples, context_width], null: zeros.
  void compute(const float* context, int samples, int capacity, Memory* memory) const;

 private:
  std::size_t width_;
  Plan plan_;
  Regime regime_;
  // Of the graph's per_sample: an output of the plan, or -1: the context itself.
  std::vector<int> source_;
};

}  // namespace fd
