// An autoregressive model's engine file planned for this machine: pixels drawn one after another,
// or many at once where they cannot see each other, each layer computed once for each position.
//
// What a sample is depends on its seed, context and rule alone: not on the batch, the slope, the
// threads. Immutable; any number of threads may sample at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pixelcnn/choice.h"
#include "plan/engine_file.h"
#include "plan/engine_options.h"

namespace fd {

struct PixelRequest {
  std::size_t n = 0;
  const std::uint64_t* seeds = nullptr;  // [n]
  const float* context = nullptr;        // [n, context_width]; null: zeros
  ChoiceRule rule;
  // [n, C, H, W]: levels that are given, and -1 where one is to be drawn; null: none.
  const std::int32_t* given = nullptr;
  // [n, C, H, W]: ln of the probability of each level that is given or drawn, whatever the rule;
  // null: not wanted.
  float* log_p = nullptr;
  // Called on the calling thread with how many of the pixels' colours are there; false ends the
  // run. May be empty.
  std::function<bool(std::size_t done, std::size_t total)> on_progress;
  std::int64_t slope = -1;  // -1: the one that was measured to be best
};

// How a batch is run.
struct PixelRegime {
  std::int64_t slope = 0;
  bool together = false;  // by all threads on the same samples; else each on its own
  int samples = 1;        // at once
};

class PixelEngine {
 public:
  // InvalidArgument where the network is not causal or does what has no meaning at one pixel.
  static std::unique_ptr<PixelEngine> make(EngineFile file, const EngineOptions& options);
  virtual ~PixelEngine() = default;

  virtual const EngineFile& file() const = 0;
  virtual int threads() const = 0;
  virtual std::int64_t smallest_slope() const = 0;
  virtual PixelRegime regime(std::size_t n) const = 0;
  // How a batch is run, and what is kept of each layer.
  virtual std::string describe(std::size_t n) const = 0;
  // The most bytes that the maps of a request of n samples take.
  virtual double map_bytes(std::size_t n) const = 0;

  // Levels, out [n, C, H, W]; -1 where the run ended before. The number of colours of pixels done,
  // n C H W where nothing ended it.
  virtual std::size_t sample(const PixelRequest& request, std::int32_t* out) const = 0;
};

}  // namespace fd
