#include "sampling/plan_stepper.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.h"

namespace fd {
namespace {

// Floats from one address to the next, where all are evenly spaced: then a kernel can step through
// them, and nothing has to be gathered. Addresses in different arrays may be, too.
template <class AddressOf>
bool evenly_spaced(std::size_t count, const AddressOf& address_of, std::ptrdiff_t* floats) {
  const auto number = [&](std::size_t i) {
    return static_cast<std::intptr_t>(reinterpret_cast<std::uintptr_t>(address_of(i)));
  };
  const std::intptr_t bytes = count > 1 ? number(1) - number(0) : 0;
  for (std::size_t i = 2; i < count; ++i) {
    if (number(i) - number(i - 1) != bytes) return false;
  }
  *floats = bytes / static_cast<std::intptr_t>(sizeof(float));
  return bytes % static_cast<std::intptr_t>(sizeof(float)) == 0;
}

std::size_t index_of(const Plan& plan, const std::string& name) {
  for (std::size_t i = 0; i < plan.output_count(); ++i) {
    if (plan.output_name(i) == name) return i;
  }
  return plan.output_count();
}

}  // namespace

// One regime for all blocks of a request, the last and smaller one included: weights are packed for
// what is used alone. Fewer asks than threads are a team's, or one thread's where nobody else came.
PlanStepper::PlanStepper(const Network& network, const float* times, std::size_t rows,
                         const float* context, std::size_t n, std::size_t fewest, std::size_t most)
    : network_(network),
      n_(n),
      times_(rows),
      elements_(network.step_.output_floats(0)),
      memory_(nullptr, nullptr) {
  const auto threads = static_cast<std::size_t>(network.options().threads);
  const std::size_t share = (most + threads - 1) / threads;
  alone_ = Regime::of(static_cast<int>(std::min(network.block(), share)), false);
  together_ = Regime::of(static_cast<int>(std::min(network.block(), fewest)), true);
  network.ready(alone_);
  if (fewest < threads) network.ready(together_);
  memory_ = network.workspaces_.take(workspace_size());
  const EngineFile& file = network.file_;
  std::copy(times, times + rows, times_.data());
  const auto width = static_cast<std::size_t>(file.context_width);
  contexts_ = AlignedFloats((n + 1) * width);
  std::fill(contexts_.data(), contexts_.data() + (n + 1) * width, 0.0f);
  if (context != nullptr) std::copy(context, context + n * width, contexts_.data());
  const auto inputs_of = [&](const Plan& plan) {
    std::vector<const float*> inputs;
    for (std::size_t i = 0; i < plan.input_count(); ++i) {
      inputs.push_back(plan.input_name(i) == file.t ? times_.data() : contexts_.data());
    }
    return inputs;
  };
  by_row_ = network.compute(network.row_, inputs_of(network.row_), rows);
  by_sample_ = network.compute(network.request_, inputs_of(network.request_), n + 1);
  const Plan& step = network.step_;
  for (std::size_t i = 0; i < step.input_count(); ++i) {
    const std::string& name = step.input_name(i);
    Input input;
    input.floats = step.input_floats(i);
    const std::size_t row = index_of(network.row_, name);
    const std::size_t sample = index_of(network.request_, name);
    if (name == file.t || row < network.row_.output_count()) {
      input.kind = Input::by_row;
      input.table = name == file.t ? times_.data() : by_row_.values[row].data();
    } else if (name == file.context || sample < network.request_.output_count()) {
      input.kind = Input::by_sample;
      input.table = name == file.context ? contexts_.data() : by_sample_.values[sample].data();
    } else if (name != file.x) {
      fail_argument("engine file", "a step of x, t, context and what its parts make", name);
    }
    inputs_.push_back(input);
  }
  bounds_.assign(threads, std::vector<Bound>(inputs_.size()));
}

WorkspaceSize PlanStepper::workspace_size() const {
  const Plan& step = network_.step_;
  const int capacity = static_cast<int>(network_.block());
  std::ptrdiff_t staging = step.output_floats(0);
  for (std::size_t i = 0; i < step.input_count(); ++i) staging += step.input_floats(i);
  WorkspaceSize size;
  size.workers = static_cast<std::size_t>(network_.options().threads);
  size.arena = step.arena_floats(capacity);
  size.scratch = step.scratch_floats(capacity);
  size.staging = static_cast<std::size_t>(staging) * network_.block();
  return size;
}

const float* PlanStepper::address(const Input& input, const Ask& ask) const {
  switch (input.kind) {
    case Input::by_row:
      return input.table + ask.row * input.floats;
    case Input::by_sample:
      return input.table +
             static_cast<std::ptrdiff_t>(ask.unconditional ? n_ : ask.sample) * input.floats;
    case Input::x:
      break;
  }
  return ask.x;
}

void PlanStepper::predict(const Ask* asks, std::size_t count, Team& team, int worker) const {
  predict(asks, count, team, worker, nullptr);
}

void PlanStepper::predict(const Ask* asks, std::size_t count, Team& team, int worker,
                          double* seconds) const {
  const Regime& regime = team.size() > 1 ? together_ : alone_;
  // Memory of the plan is the team's; scratch and the like are each member's own.
  const auto own = static_cast<std::size_t>(team.size() > 1 ? team.rank() : worker);
  std::vector<Bound>& inputs = bounds_[own];
  const WorkerMemory& memory = memory_->workers[static_cast<std::size_t>(worker)];
  float* staging = memory.staging.data();
  bool gathered = false;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const Input& input = inputs_[i];
    const auto address_of = [&](std::size_t k) { return address(input, asks[k]); };
    if (evenly_spaced(count, address_of, &inputs[i].sample)) {
      inputs[i].data = const_cast<float*>(address_of(0));
      continue;
    }
    inputs[i] = {staging, input.floats};
    gathered = true;
    for (std::size_t k = 0; k < count && team.rank() == 0; ++k) {
      std::copy(address_of(k), address_of(k) + input.floats,
                staging + static_cast<std::ptrdiff_t>(k) * input.floats);
    }
    staging += static_cast<std::ptrdiff_t>(count) * input.floats;
  }
  Bound output;
  const bool direct =
      evenly_spaced(count, [&](std::size_t k) { return asks[k].m; }, &output.sample);
  if (direct) {
    output.data = asks[0].m;
  } else {
    output = {staging, elements_};
  }
  if (gathered) team.barrier();
  network_.step_.run(static_cast<int>(count), regime, inputs.data(), &output, memory.arena.data(),
                     static_cast<int>(network_.block()), memory_->workers[own].scratch.data(), team,
                     seconds);
  if (direct) return;
  team.barrier();
  for (std::size_t k = 0; k < count && team.rank() == 0; ++k) {
    const float* from = output.data + static_cast<std::ptrdiff_t>(k) * elements_;
    std::copy(from, from + elements_, asks[k].m);
  }
}

}  // namespace fd
