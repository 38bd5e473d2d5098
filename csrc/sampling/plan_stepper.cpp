#include "sampling/plan_stepper.h"

#include <algorithm>

#include "sampling/bind_inputs.h"

namespace fd {

// One regime for all blocks of a request, the last and smaller one included: weights are packed for
// what is used alone. Fewer asks than threads are a team's, or one thread's where nobody else came.
PlanStepper::PlanStepper(const Network& network, const Conditions& conditions, Workspace& workspace)
    : network_(network), values_(workspace.values), workers_(workspace.workers) {
  const auto threads = static_cast<std::size_t>(network.options().threads);
  const std::size_t share = (conditions.most + threads - 1) / threads;
  alone_ = Regime::of(static_cast<int>(std::min(network.block(), share)), false);
  together_ = Regime::of(static_cast<int>(std::min(network.block(), conditions.fewest)), true);
  network.make_ready(alone_, conditions.fewest < threads ? &together_ : nullptr, workers_);
  values_.compute(network, conditions, workers_);
}

void PlanStepper::predict(const Ask* asks, std::size_t count, Team& team, int worker) const {
  predict(asks, count, team, worker, nullptr);
}

void PlanStepper::predict(const Ask* asks, std::size_t count, Team& team, int worker,
                          double* seconds) const {
  const Regime& regime = team.size() > 1 ? together_ : alone_;
  const bool copies = team.rank() == 0;
  const int samples = static_cast<int>(count), capacity = static_cast<int>(network_.block());
  // Arena and staging are the team's; scratch and the like are each member's own.
  const WorkerMemory& shared = workers_[static_cast<std::size_t>(worker)];
  WorkerMemory& own = workers_[static_cast<std::size_t>(team.size() > 1 ? team.rank() : worker)];
  Bound* const inputs = own.inputs.data();
  Bound* const made = own.outputs.data();  // by row_request, and behind that the step's own output
  float* staging = shared.staging.data();

  const auto address_of = [&](const Source& source, std::size_t k) -> const float* {
    const Ask& ask = asks[k];
    if (source.kind == Source::x) return ask.x;
    if (source.kind == Source::pair && !values_.pairs_stored()) {
      return made[source.table].data + static_cast<std::ptrdiff_t>(k) * source.floats;
    }
    const Contexts& contexts = values_.contexts();
    return values_.at(
        source, static_cast<std::size_t>(ask.row),
        ask.unconditional ? contexts.unconditional() : contexts.of_sample(ask.sample));
  };

  const Part& pairs = network_.row_request();
  if (!values_.pairs_stored() && pairs.plan.output_count() > 0) {
    if (bind_inputs(pairs.sources, count, address_of, copies, inputs, &staging)) team.barrier();
    bind_outputs(pairs.plan, count, made, &staging);
    pairs.plan.run(samples, regime, inputs, made, shared.arena.data(), capacity, own.scratch.data(),
                   team, seconds);
    team.barrier();
    if (seconds != nullptr) seconds += pairs.plan.step_count();
  }

  const Part& step = network_.step();
  const bool gathered = bind_inputs(step.sources, count, address_of, copies, inputs, &staging);
  Bound& output = made[pairs.plan.output_count()];
  const bool direct =
      evenly_spaced(count, [&](std::size_t k) { return asks[k].m; }, &output.sample);
  if (direct) {
    output.data = asks[0].m;
  } else {
    bind_outputs(step.plan, count, &output, &staging);
  }
  if (gathered) team.barrier();
  step.plan.run(samples, regime, inputs, &output, shared.arena.data(), capacity, own.scratch.data(),
                team, seconds);
  if (direct) return;
  team.barrier();
  const std::ptrdiff_t elements = step.plan.output_floats(0);
  for (std::size_t k = 0; k < count && copies; ++k) {
    std::copy_n(output.data + static_cast<std::ptrdiff_t>(k) * elements, elements, asks[k].m);
  }
}

}  // namespace fd
