// Which algorithms a network's steps run by, and in blocks of how many samples.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/team.h"
#include "plan/aligned.h"
#include "sampling/network.h"
#include "sampling/plan_stepper.h"

namespace fd {

std::vector<Regime> Network::regimes() const {
  std::vector<Regime> found;
  const int most = static_cast<int>(fitting_block(kMaxBlock));
  for (int samples = 1; samples <= most; samples *= 2) found.push_back({samples, false});
  for (int samples = 1; samples < options_.threads && samples <= most; samples *= 2) {
    found.push_back({samples, true});
  }
  return found;
}

void Network::settle() {
  for (const Regime& regime : regimes()) step_.plan.choose(regime, nullptr);
}

void Network::tune(Tuner& tuner, const std::function<void(std::size_t, std::size_t)>& progress) {
  const std::vector<Regime> regimes = this->regimes();
  const int most = static_cast<int>(fitting_block(kMaxBlock));
  const std::size_t total = regimes.size() + 1;
  for (std::size_t i = 0; i < regimes.size(); ++i) {
    if (progress) progress(i, total);
    step_.plan.choose(regimes[i], &tuner);
  }
  if (options_.precision == Precision::bf16 && !options_.exact) spend_error(tuner, regimes);
  if (progress) progress(regimes.size(), total);
  std::vector<std::string> names{std::to_string(block_)};
  for (int samples : {1, 2, 4, 8}) {
    const std::string name = std::to_string(samples);
    if (samples <= most && name != names[0]) names.push_back(name);
  }
  const std::string key = std::string("block ") + isa_name(options_.isa) + " " + file_.name + " " +
                          std::to_string(static_cast<long long>(step_.plan.flops())) + " " +
                          std::to_string(step_.plan.arena_floats(1)) +
                          (options_.precision == Precision::bf16 ? " bf16" : " f32") +
                          (options_.exact ? " exact" : "") + " t" +
                          std::to_string(options_.threads);
  const std::size_t chosen = tuner.choose(key, names, [&](std::size_t i) {
    return seconds_per_sample(static_cast<std::size_t>(std::stoi(names[i])));
  });
  block_ = static_cast<std::size_t>(std::stoi(names[chosen]));
  if (progress) progress(total, total);
}

// One evaluation by every thread at once on blocks of this size, since they share caches.
double Network::seconds_per_sample(std::size_t block) {
  block_ = block;
  const std::size_t elements = static_cast<std::size_t>(file_.sample_shape[0]) *
                               static_cast<std::size_t>(file_.sample_shape[1]) *
                               static_cast<std::size_t>(file_.sample_shape[2]);
  const float time = 0;
  const auto threads = static_cast<std::size_t>(options_.threads);
  Conditions conditions;
  conditions.times = &time;
  conditions.rows = 1;
  conditions.n = conditions.fewest = block;
  conditions.most = block * threads;
  const auto workspace = lease();
  const PlanStepper stepper(*this, conditions, *workspace);
  std::vector<AlignedFloats> memory;
  for (std::size_t i = 0; i < threads; ++i) {
    memory.emplace_back(2 * block * elements);
    std::fill(memory.back().data(), memory.back().data() + memory.back().size(), 0.5f);
  }
  double seconds = 0;
  run_team(options_.threads, [&](Team& team) {
    float* x = memory[static_cast<std::size_t>(team.rank())].data();
    std::vector<Ask> asks(block);
    for (std::size_t i = 0; i < block; ++i) {
      asks[i].sample = static_cast<std::uint32_t>(i);
      asks[i].x = x + i * elements;
      asks[i].m = x + (block + i) * elements;
    }
    Team alone = Team::alone();
    stepper.predict(asks.data(), block, alone, team.rank());
    team.barrier();
    const auto begin = std::chrono::steady_clock::now();
    stepper.predict(asks.data(), block, alone, team.rank());
    team.barrier();
    const auto end = std::chrono::steady_clock::now();
    if (team.rank() == 0) seconds = std::chrono::duration<double>(end - begin).count();
  });
  return seconds / static_cast<double>(block);
}

}  // namespace fd
