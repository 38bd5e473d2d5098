#include "plan/plan.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <sstream>

#include "plan/builder.h"
#include "plan/conv_step.h"

namespace fd {

Plan::Plan(const Program& program, const PlanOptions& options) : options_(options) {
  Builder(program, *this).build();
}

Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;

std::size_t Plan::arena_floats(int capacity) const {
  return static_cast<std::size_t>(arena_floats_) * static_cast<std::size_t>(capacity);
}

std::size_t Plan::scratch_floats(int capacity) const {
  std::size_t most = 0;
  for (const auto& step : steps_) most = std::max(most, step->scratch_floats(capacity));
  return most;
}

double Plan::output_bytes() const {
  return sizeof(float) * std::accumulate(output_floats_.begin(), output_floats_.end(), 0.0);
}

double Plan::input_bytes() const {
  return sizeof(float) * std::accumulate(input_floats_.begin(), input_floats_.end(), 0.0);
}

std::ptrdiff_t Plan::output_floats() const {
  return std::accumulate(output_floats_.begin(), output_floats_.end(), std::ptrdiff_t{0});
}

std::ptrdiff_t Plan::input_floats() const {
  return std::accumulate(input_floats_.begin(), input_floats_.end(), std::ptrdiff_t{0});
}

double Plan::run_bytes(int capacity) const {
  return capacity *
         (sizeof(float) * static_cast<double>(arena_floats_) + input_bytes() + output_bytes());
}

std::vector<ConvStep*> Plan::convolutions() {
  std::vector<ConvStep*> found;
  for (const auto& step : steps_) {
    if (auto* conv = dynamic_cast<ConvStep*>(step.get())) found.push_back(conv);
  }
  return found;
}

void Plan::choose(const Regime& regime, Tuner* tuner) {
  for (ConvStep* conv : convolutions()) conv->choose(regime, tuner);
}

void Plan::pack(const Regime& regime) {
  for (ConvStep* conv : convolutions()) conv->pack(regime);
}

void Plan::run(int samples, const Regime& regime, const Bound* inputs, const Bound* outputs,
               float* arena, int capacity, float* scratch, Team& team, double* seconds) const {
  Frame frame;
  frame.samples = samples;
  frame.regime = regime.index();
  frame.share = {team.rank(), team.size()};
  frame.isa = options_.isa;
  frame.arena = arena;
  frame.capacity = capacity;
  frame.buffers = buffers_.data();
  frame.inputs = inputs;
  frame.outputs = outputs;
  frame.scratch = scratch;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (i > 0 && team.size() > 1) team.barrier();
    if (seconds == nullptr) {
      steps_[i]->run(frame);
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    steps_[i]->run(frame);
    seconds[i] += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
}

double Plan::flops() const {
  double sum = 0;
  for (const auto& step : steps_) sum += step->flops();
  return sum;
}

std::size_t Plan::weight_bytes() const {
  std::size_t sum = 0;
  for (const auto& step : steps_) {
    if (const auto* conv = dynamic_cast<const ConvStep*>(step.get())) sum += conv->weight_bytes();
  }
  return sum;
}

std::string Plan::describe(const Regime& regime) const {
  std::ostringstream text;
  char line[256];
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    std::snprintf(line, sizeof(line), "%3zu  %7.2f MFLOP  %s", i, steps_[i]->flops() / 1e6,
                  steps_[i]->describe(regime.index()).c_str());
    text << line;
    if (!steps_[i]->path.empty()) text << "  # " << steps_[i]->path;
    text << '\n';
  }
  std::snprintf(line, sizeof(line),
                "%zu steps, %.1f MFLOP a sample; %.0f KiB of arena a sample; %.1f MiB of weights, "
                "packed\n",
                steps_.size(), flops() / 1e6, static_cast<double>(arena_floats_) * 4 / 1024,
                static_cast<double>(weight_bytes()) / 1048576);
  text << line;
  return text.str();
}

}  // namespace fd
