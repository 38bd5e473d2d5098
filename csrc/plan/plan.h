// A plan: a program turned into kernel calls over one arena. Made once, run by many threads, each
// with memory of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/team.h"
#include "cpu/conv.h"
#include "plan/program.h"
#include "plan/regime.h"
#include "plan/step.h"

namespace fd {

struct PlanOptions {
  Isa isa = Isa::scalar;
  Precision precision = Precision::float32;
  bool exact = false;  // no algorithm that trades digits for speed
  int threads = 1;     // the size of a whole team
};

class ConvStep;
class Tuner;

class Plan {
 public:
  // InvalidArgument naming the op and the module path where the program holds what no kernel does.
  Plan(const Program& program, const PlanOptions& options);
  ~Plan();
  Plan(Plan&&) noexcept;

  // The shape of an input or output, without the batch.
  std::size_t input_count() const { return input_names_.size(); }
  std::size_t output_count() const { return output_names_.size(); }
  const std::string& input_name(std::size_t i) const { return input_names_[i]; }
  const std::string& output_name(std::size_t i) const { return output_names_[i]; }
  std::ptrdiff_t input_floats(std::size_t i) const { return input_floats_[i]; }
  std::ptrdiff_t output_floats(std::size_t i) const { return output_floats_[i]; }

  // Memory that a run of at most `capacity` samples needs.
  std::size_t arena_floats(int capacity) const;
  std::size_t scratch_floats(int capacity) const;  // for each member of a team
  // Of all outputs (inputs) together, a sample. Bytes are doubles: no file can make those overflow,
  // and floats are for a plan whose bytes were found to be few.
  double output_bytes() const;
  double input_bytes() const;
  std::ptrdiff_t output_floats() const;
  std::ptrdiff_t input_floats() const;
  // Of an arena for `capacity` samples, and of inputs and outputs beside it.
  double run_bytes(int capacity) const;

  // Settles how the plan runs in this regime, once: by measurement, or by the heuristic where tuner
  // is null.
  void choose(const Regime& regime, Tuner* tuner);
  // Packs weights for what was chosen (the heuristic's, where nothing was). Before the first run in
  // this regime, and not at the same time as another call of choose or pack.
  void pack(const Regime& regime);

  // Runs on `samples` <= capacity samples. Every member of the team calls it with the same
  // arguments but scratch; what has been computed is there after the team's next barrier. Inputs
  // and outputs are dense, row-major: outputs[i] takes output_floats(i) a sample.
  void run(int samples, const Regime& regime, const Bound* inputs, const Bound* outputs,
           float* arena, int capacity, float* scratch, Team& team, double* seconds = nullptr) const;

  // The convolutions, whose algorithms can be chosen.
  std::vector<ConvStep*> convolutions();

  std::size_t step_count() const { return steps_.size(); }
  const Step& step(std::size_t i) const { return *steps_[i]; }
  double flops() const;
  std::size_t weight_bytes() const;
  // A line a step, and one about memory.
  std::string describe(const Regime& regime) const;

 private:
  friend class Builder;
  PlanOptions options_;
  std::vector<std::string> input_names_, output_names_;
  std::vector<std::ptrdiff_t> input_floats_, output_floats_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<Buffer> buffers_;
  std::ptrdiff_t arena_floats_ = 0;                  // a sample
  std::vector<std::unique_ptr<float[]>> constants_;  // those made here, in another layout
};

}  // namespace fd
