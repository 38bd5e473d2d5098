// An autoregressive model's file: planned, and run where that takes milliseconds. What is drawn
// must not depend on slope, batch or threads, to the bit.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "pixelcnn/engine.h"

namespace fuzz {

// `runs`: whether the network is small enough to be run.
inline void check_pixels(const fd::EngineFile& file, const fd::EngineOptions& options, bool runs) {
  const auto engine = fd::PixelEngine::make(file, options);
  if (engine->describe(3).empty()) std::abort();
  if (!runs) return;
  const std::int64_t* shape = file.sample_shape;
  const auto elements = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
  const std::uint64_t seeds[3] = {1, 2, 3};
  std::vector<std::int32_t> first(3 * elements), second(first);
  fd::PixelRequest request;
  request.n = 3, request.seeds = seeds, request.slope = engine->smallest_slope();
  engine->sample(request, first.data());
  request.slope += 1;
  engine->sample(request, second.data());
  request.n = 1, request.slope = -1;
  std::vector<std::int32_t> alone(elements);
  engine->sample(request, alone.data());
  for (std::size_t i = 0; i < first.size(); ++i) {
    const bool inside = first[i] >= 0 && first[i] < file.levels;
    if (inside && first[i] == second[i] && (i >= elements || first[i] == alone[i])) continue;
    std::fprintf(stderr, "broken promise: level %d, %d at element %zu\n", first[i], second[i], i);
    std::abort();
  }
}

}  // namespace fuzz
