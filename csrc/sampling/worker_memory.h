// What one member of a team computes in.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/aligned.h"
#include "plan/step.h"

namespace fd {

struct WorkerMemory {
  AlignedFloats arena, scratch, staging;
  std::vector<Bound> inputs, outputs;
};

// Floats of each array, and the number of workers.
struct WorkerNeeds {
  std::size_t workers = 0, arena = 0, scratch = 0, staging = 0, inputs = 0, outputs = 0;
};

// Room for at least that much; nothing ever shrinks.
inline void hold(std::vector<WorkerMemory>& workers, const WorkerNeeds& needs) {
  if (workers.size() < needs.workers) workers.resize(needs.workers);
  for (WorkerMemory& worker : workers) {
    worker.arena.hold(needs.arena);
    worker.scratch.hold(needs.scratch);
    worker.staging.hold(needs.staging);
    if (worker.inputs.size() < needs.inputs) worker.inputs.resize(needs.inputs);
    if (worker.outputs.size() < needs.outputs) worker.outputs.resize(needs.outputs);
  }
}

}  // namespace fd
