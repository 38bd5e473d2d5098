// An engine: an engine file planned for this machine. Immutable once made; any number of threads
// may sample from it at once, each request with its own workspace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plan/engine_file.h"
#include "plan/engine_options.h"
#include "sampling/loop.h"
#include "sampling/request.h"

namespace fd {

struct StepTime {
  std::string step, path;
  double seconds = 0;  // of one run of `samples` samples
  double flops = 0;    // of the plain algorithm for one sample
  int samples = 0;
};

class Engine {
 public:
  static std::unique_ptr<Engine> make(EngineFile file, const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const EngineFile& file() const = 0;
  virtual LoopShape shape() const = 0;
  virtual int threads() const = 0;
  // One paragraph: instruction set, precision, threads; and the plan for a batch, a line an op.
  virtual std::string describe(std::size_t batch) const = 0;

  // Checks the request's shapes and values (InvalidArgument) and runs it: x into out [n, C, H, W],
  // not clipped; the number of rows done. Runs in chunks of bounded memory, except that a request
  // with after_row runs as one.
  virtual std::size_t sample(const SampleRequest& request, float* out) const = 0;

  // The network alone, for tests and benchmarks: m of n samples at the given times and contexts
  // (null for none), x and m float [n, C, H, W], times float [n].
  virtual void predict(std::size_t n, const float* x, const float* times, const float* context,
                       float* m) const = 0;

  // Where the time of one evaluation of `batch` samples goes: the least of `repeats` runs by one
  // thread (by all of them, where the batch is run by a team), a step each. Those of row_request
  // come first and say so; a request runs them for each row and distinct context once, not in every
  // evaluation.
  virtual std::vector<StepTime> profile(std::size_t batch, int repeats) const = 0;
};

}  // namespace fd
