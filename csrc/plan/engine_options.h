// What can be chosen when an engine file is planned for this machine.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "plan/plan.h"

namespace fd {

struct EngineOptions {
  int threads = 0;  // 0: FASTDIFF_THREADS, else the CPUs this process may use
  Precision precision = Precision::float32;
  bool exact = false;     // only algorithms within twice eager's own error (no Winograd)
  bool autotune = true;   // measure, and keep what was found in the cache; false: the heuristic
  std::string cache_dir;  // of the tuning cache; empty: FASTDIFF_CACHE_DIR, else ~/.cache/fastdiff
  // Called while tuning with what is done of what is to be done; may be empty.
  std::function<void(std::size_t done, std::size_t total)> progress;
};

// Checked, with this machine's instruction set. InvalidArgument for what it cannot do.
PlanOptions plan_options(const EngineOptions& options);

}  // namespace fd
