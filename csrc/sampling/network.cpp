#include "sampling/network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/json.h"
#include "core/thread_pool.h"
#include "plan/merge.h"
#include "sampling/plan_stepper.h"

namespace fd {
namespace {

// What a file may ask for: of memory for one sample, for one thread's scratch, and for what a table
// of rows makes of its times. More is a mistake or an attack. Within it blocks of samples are made
// smaller where they would take more than kGoodBytes.
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
constexpr double kMostBytes = 4 * kGiB, kGoodBytes = 1 * kGiB;
constexpr std::size_t kChunk = 256;  // samples

void check_bytes(const EngineFile& file, double bytes, const char* what) {
  if (bytes <= kMostBytes) return;
  fail_argument("model " + quoted(file.name), "at most 4 GiB of memory " + std::string(what),
                std::to_string(static_cast<long long>(std::ceil(bytes / kGiB))) + " GiB");
}

double scratch_bytes(const Plan& plan, std::size_t block) {
  return sizeof(float) * static_cast<double>(plan.scratch_floats(static_cast<int>(block)));
}

// Samples of one run, at most `most`, such that its memory stays good.
std::size_t fitting_block(const Plan& plan, std::size_t most) {
  while (most > 1 && plan.run_bytes(static_cast<int>(most)) > kGoodBytes) most /= 2;
  return most;
}

// What depends on t and context but not on x is computed with the step.
Program step_program(const EngineFile& file) {
  return file.row_request.empty() ? file.step : merged(file.row_request, file.step);
}

}  // namespace

Network::Network(const EngineFile& file, const PlanOptions& options)
    : file_(file),
      options_(options),
      row_(file.row, options),
      request_(file.request, options),
      step_(step_program(file), options) {
  const Regime once{kMaxBlock, false};
  check_memory();
  row_.pack(once);
  request_.pack(once);
  block_ = fitting_block(step_, block_);
}

void Network::check_memory() const {
  const Plan* const plans[] = {&row_, &request_, &step_};
  for (const Plan* plan : plans) {
    check_bytes(file_, plan->run_bytes(1), "a sample");
    check_bytes(file_, scratch_bytes(*plan, 1), "a thread");
  }
  check_bytes(file_, row_.output_bytes() * static_cast<double>(file_.table_rows()),
              "for its table's rows");
}

std::size_t Network::chunk() const {
  const double bytes = row_.output_bytes() + request_.output_bytes();
  const double most = kGoodBytes / std::max(bytes, 1.0);
  return most >= kChunk ? kChunk : std::max<std::size_t>(1, static_cast<std::size_t>(most));
}

void Network::ready(const Regime& regime) const {
  std::lock_guard<std::mutex> lock(packing_);
  bool& packed = packed_[regime.index()];
  if (!packed) step_.pack(regime);
  packed = true;
  check_bytes(file_, scratch_bytes(step_, block_), "a thread");
}

std::vector<Regime> Network::regimes() const {
  std::vector<Regime> found;
  const int most = static_cast<int>(fitting_block(step_, kMaxBlock));
  for (int samples = 1; samples <= most; samples *= 2) found.push_back({samples, false});
  for (int samples = 1; samples < options_.threads && samples <= most; samples *= 2) {
    found.push_back({samples, true});
  }
  return found;
}

void Network::settle() {
  for (const Regime& regime : regimes()) step_.choose(regime, nullptr);
}

void Network::tune(Tuner& tuner, const std::function<void(std::size_t, std::size_t)>& progress) {
  const std::vector<Regime> regimes = this->regimes();
  const int most = static_cast<int>(fitting_block(step_, kMaxBlock));
  const std::size_t total = regimes.size() + 1;
  for (std::size_t i = 0; i < regimes.size(); ++i) {
    if (progress) progress(i, total);
    step_.choose(regimes[i], &tuner);
  }
  if (options_.precision == Precision::bf16 && !options_.exact) spend_error(tuner, regimes);
  if (progress) progress(regimes.size(), total);
  std::vector<std::string> names{std::to_string(block_)};
  for (int samples : {1, 2, 4, 8}) {
    const std::string name = std::to_string(samples);
    if (samples <= most && name != names[0]) names.push_back(name);
  }
  const std::string key = std::string("block ") + isa_name(options_.isa) + " " + file_.name + " " +
                          std::to_string(static_cast<long long>(step_.flops())) + " " +
                          std::to_string(step_.arena_floats(1)) +
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
  const auto stepper = this->stepper(&time, 1, nullptr, block, block, block * threads);
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
    stepper->predict(asks.data(), block, alone, team.rank());
    team.barrier();
    const auto begin = std::chrono::steady_clock::now();
    stepper->predict(asks.data(), block, alone, team.rank());
    team.barrier();
    const auto end = std::chrono::steady_clock::now();
    if (team.rank() == 0) seconds = std::chrono::duration<double>(end - begin).count();
  });
  return seconds / static_cast<double>(block);
}

Computed Network::compute(const Plan& plan, const std::vector<const float*>& inputs,
                          std::size_t count) const {
  if (&plan == &row_) {
    const double bytes = plan.output_bytes() * static_cast<double>(count);
    check_bytes(file_, bytes, "for a table's rows");
  }
  Computed computed;
  for (std::size_t i = 0; i < plan.output_count(); ++i) {
    computed.values.emplace_back(static_cast<std::size_t>(plan.output_floats(i)) * count);
  }
  if (plan.output_count() == 0 || count == 0) return computed;
  const Regime regime{kMaxBlock, false};
  const std::size_t block = fitting_block(plan, kMaxBlock);
  const int capacity = static_cast<int>(block);
  parallel_for((count + block - 1) / block, options_.threads, [&](std::size_t chunk) {
    const std::size_t first = chunk * block, samples = std::min(block, count - first);
    AlignedFloats arena(plan.arena_floats(capacity)), scratch(plan.scratch_floats(capacity));
    std::vector<Bound> in, out;
    for (std::size_t i = 0; i < plan.input_count(); ++i) {
      const std::ptrdiff_t floats = plan.input_floats(i);
      in.push_back(
          {const_cast<float*>(inputs[i]) + static_cast<std::ptrdiff_t>(first) * floats, floats});
    }
    for (std::size_t i = 0; i < plan.output_count(); ++i) {
      const std::ptrdiff_t floats = plan.output_floats(i);
      out.push_back(
          {computed.values[i].data() + static_cast<std::ptrdiff_t>(first) * floats, floats});
    }
    Team alone = Team::alone();
    plan.run(static_cast<int>(samples), regime, in.data(), out.data(), arena.data(), capacity,
             scratch.data(), alone);
  });
  return computed;
}

std::unique_ptr<PlanStepper> Network::stepper(const float* times, std::size_t rows,
                                              const float* context, std::size_t n,
                                              std::size_t fewest, std::size_t most) const {
  return std::make_unique<PlanStepper>(*this, times, rows, context, n, fewest, most);
}

}  // namespace fd
