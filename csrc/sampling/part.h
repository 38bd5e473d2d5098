// A part of a network: what is computed at one binding time (fastdiff/program/binding.py), and
// where its inputs come from.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/plan.h"
#include "plan/regime.h"

namespace fd {

// An input of a part: x, or a line of a table. Tables by row: the times, then what the part `row`
// makes; by context: the contexts, then what `request` makes; by pair, for each row and context:
// what `row_request` makes.
struct Source {
  enum Kind { row, context, pair, x } kind = x;
  std::size_t table = 0;  // among those of its kind
  std::ptrdiff_t floats = 0;
};

struct Part {
  Part(const Program& program, const PlanOptions& options) : plan(program, options) {}

  Plan plan;
  std::vector<Source> sources;  // of the plan's inputs
  bool packed[kRegimes] = {};   // whether its weights are, for each regime
};

}  // namespace fd
