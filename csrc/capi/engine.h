// What is behind the handle fd_engine.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/lease.h"
#include "fastdiff/fastdiff.h"
#include "sampling/engine.h"

namespace fd {

// What is given once for all images, repeated for each.
struct RequestMemory {
  std::vector<std::uint64_t> seeds;
  std::vector<float> context, guidance, guidance_rescale;
};

}  // namespace fd

struct fd_engine {
  std::unique_ptr<const fd::Engine> engine;
  fd::Precision precision = fd::Precision::float32;
  std::vector<const char*> labels;  // of the engine's file
  mutable fd::LeasePool<fd::RequestMemory> requests;
};

namespace fd {

// The engine of a handle; InvalidArgument where it's null.
const Engine& engine_of(const fd_engine* engine);

}  // namespace fd
