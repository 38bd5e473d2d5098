// What is behind the handle fd_engine.
#pragma once

#include <memory>
#include <vector>

#include "fastdiff/fastdiff.h"
#include "sampling/engine.h"

struct fd_engine {
  std::unique_ptr<const fd::Engine> engine;
  fd::Precision precision = fd::Precision::float32;
  std::vector<const char*> labels;  // of the engine's file
};

namespace fd {

// The engine of a handle; InvalidArgument where it's null.
const Engine& engine_of(const fd_engine* engine);

}  // namespace fd
