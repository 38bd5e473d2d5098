// Which level a pixel gets, from its logits and a uniform number: by inverting the cumulative
// distribution.
#pragma once

#include <vector>

#include "core/cpu_features.h"

namespace fd {

struct ChoiceRule {
  float temperature = 1;  // positive: p is the softmax of logits / temperature
  int top_k = 0;          // only so many of the largest logits, and equals of the last; 0: all
};

// The number of levels k whose cumulative probability is at most u, but at most the last level that
// has any. Probabilities in float32, sums in float64. `scratch`: `levels` floats, and as many more
// with top_k.
int choose_level(const float* logits, int levels, float u, const ChoiceRule& rule, Isa isa,
                 float* scratch);

// ln softmax(logits)[level], in float64.
double log_probability(const float* logits, int levels, int level);

}  // namespace fd
