#include "sampling/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "core/cpu_count.h"
#include "core/error.h"
#include "core/team.h"
#include "cpu/dispatch.h"
#include "plan/tuner.h"
#include "sampling/network.h"
#include "sampling/plan_stepper.h"

namespace fd {
namespace {

// Of measuring, a regime: a dozen of shapes with a handful of candidates take less.
constexpr double kTuningBudget_s = 8.0;

void check_finite(const char* name, const float* values, std::size_t n, std::size_t each) {
  if (values == nullptr) return;
  for (std::size_t i = 0; i < n * each; ++i) {
    if (!std::isfinite(values[i])) {
      fail_argument(name, "finite numbers",
                    std::to_string(values[i]) + " in sample " + std::to_string(i / each));
    }
  }
}

class PlannedEngine : public Engine {
 public:
  PlannedEngine(EngineFile file, const EngineOptions& options)
      : file_(std::move(file)), network_(file_, plan_options(options)) {
    if (!options.autotune) {
      network_.settle();
      return;
    }
    Tuner tuner(options.cache_dir.empty() ? default_cache_folder() : options.cache_dir,
                kTuningBudget_s);
    network_.tune(tuner, options.progress);
  }

  const EngineFile& file() const override { return file_; }
  LoopShape shape() const override {
    return {static_cast<std::size_t>(file_.sample_shape[0]),
            static_cast<std::size_t>(file_.sample_shape[1]),
            static_cast<std::size_t>(file_.sample_shape[2])};
  }
  int threads() const override { return network_.options().threads; }

  std::string describe(std::size_t batch) const override {
    const PlanOptions& options = network_.options();
    const bool team = batch < static_cast<std::size_t>(options.threads);
    std::string text = file_.name + " on " + isa_name(options.isa) + ", " +
                       (options.precision == Precision::bf16 ? "bf16" : "float32") +
                       (options.exact ? ", exact" : "") + ", " + std::to_string(options.threads) +
                       (options.threads == 1 ? " thread" : " threads") + "; " +
                       (team ? "shared steps"
                             : "blocks of up to " + std::to_string(network_.block()) + " samples") +
                       " at batch " + std::to_string(batch) + "\n";
    return text + network_.describe(regime_of(batch));
  }

  std::size_t sample(const SampleRequest& request, float* out) const override {
    check(request);
    if (request.n == 0) return request.table.rows;
    if (request.after_row) return run(request, out);
    std::size_t rows = 0;
    const LoopShape shape = this->shape();
    const std::size_t chunk = network_.chunk();
    for (std::size_t first = 0; first < request.n; first += chunk) {
      const std::size_t n = std::min(chunk, request.n - first);
      SampleRequest part = request;
      part.n = n;
      part.seeds += first;
      const auto from = [&](const float*& values, std::size_t each) {
        if (values != nullptr) values += first * each;
      };
      from(part.context, static_cast<std::size_t>(file_.context_width));
      from(part.guidance, 1);
      from(part.guidance_rescale, 1);
      from(part.x_T, shape.elements());
      from(part.image, shape.elements());
      from(part.mask, shape.height * shape.width);
      rows = run(part, out + first * shape.elements());
    }
    return rows;
  }

  void predict(std::size_t n, const float* x, const float* times, const float* context,
               float* m) const override {
    check_finite("context", context, n, static_cast<std::size_t>(file_.context_width));
    const std::size_t elements = shape().elements();
    const std::size_t chunk = network_.chunk();
    const auto workspace = network_.lease();
    for (std::size_t first = 0; first < n; first += chunk) {
      const std::size_t count = std::min(chunk, n - first);
      Conditions conditions;
      conditions.times = times + first;
      if (context != nullptr) {
        conditions.context = context + first * static_cast<std::size_t>(file_.context_width);
      }
      conditions.rows = conditions.n = conditions.fewest = conditions.most = count;
      conditions.every_row = false;
      const PlanStepper stepper(network_, conditions, *workspace);
      std::vector<Ask> asks = asks_of(count, x + first * elements, m + first * elements);
      for (std::size_t i = 0; i < count; ++i) asks[i].row = static_cast<std::int32_t>(i);
      answer(stepper, asks);
    }
  }

  std::vector<StepTime> profile(std::size_t batch, int repeats) const override {
    const float time = 0;
    const auto threads = static_cast<std::size_t>(this->threads());
    const bool team_works = batch < threads;
    const std::size_t count =
        std::min(network_.block(), team_works ? batch : (batch + threads - 1) / threads);
    Conditions conditions;
    conditions.times = &time;
    conditions.rows = 1;
    conditions.n = count;
    conditions.fewest = conditions.most = batch;
    conditions.every_row = false;  // so that row_request is run, too
    const auto workspace = network_.lease();
    const PlanStepper stepper(network_, conditions, *workspace);
    std::vector<float> x(count * shape().elements(), 0.5f), m(x.size());
    const std::vector<Ask> asks = asks_of(count, x.data(), m.data());
    std::vector<StepTime> times;
    for (const Part* part : {&network_.row_request(), &network_.step()}) {
      for (std::size_t i = 0; i < part->plan.step_count(); ++i) {
        const Step& step = part->plan.step(i);
        StepTime timed;
        timed.step = (part == &network_.row_request() ? "row_request: " : "") +
                     step.describe(regime_of(batch).index());
        timed.path = step.path;
        timed.seconds = std::numeric_limits<double>::infinity();
        timed.flops = step.flops();
        timed.samples = static_cast<int>(count);
        times.push_back(timed);
      }
    }
    run_team(team_works ? this->threads() : 1, [&](Team& team) {
      std::vector<double> seconds(times.size());
      for (int k = 0; k < repeats; ++k) {
        std::fill(seconds.begin(), seconds.end(), 0.0);
        stepper.predict(asks.data(), count, team, 0, seconds.data());
        team.barrier();
        for (std::size_t i = 0; i < seconds.size() && team.rank() == 0; ++i) {
          times[i].seconds = std::min(times[i].seconds, seconds[i]);
        }
      }
    });
    return times;
  }

 private:
  Regime regime_of(std::size_t batch) const {
    const auto threads = static_cast<std::size_t>(this->threads());
    if (batch < threads) return Regime::of(static_cast<int>(batch), true);
    const std::size_t share = (batch + threads - 1) / threads;
    return Regime::of(static_cast<int>(std::min(network_.block(), share)), false);
  }

  // One ask for each of `count` samples.
  std::vector<Ask> asks_of(std::size_t count, const float* x, float* m) const {
    const std::size_t elements = shape().elements();
    std::vector<Ask> asks(count);
    for (std::size_t i = 0; i < count; ++i) {
      asks[i].sample = static_cast<std::uint32_t>(i);
      asks[i].x = x + i * elements;
      asks[i].m = m + i * elements;
    }
    return asks;
  }

  // Blocks of about the same size by the threads, or all of them together on few asks.
  void answer(const Stepper& stepper, const std::vector<Ask>& asks) const {
    run_team(threads(), [&](Team& team) {
      const auto size = static_cast<std::size_t>(team.size());
      const auto rank = static_cast<std::size_t>(team.rank());
      if (asks.size() < size) {
        stepper.predict(asks.data(), asks.size(), team, 0);
        return;
      }
      const std::size_t rounds =
          (asks.size() + size * stepper.max_asks() - 1) / (size * stepper.max_asks());
      const std::size_t blocks = rounds * size;
      Team alone = Team::alone();
      for (std::size_t block = rank; block < blocks; block += size) {
        const std::size_t begin = block * asks.size() / blocks;
        const std::size_t end = (block + 1) * asks.size() / blocks;
        if (end > begin) {
          stepper.predict(asks.data() + begin, end - begin, alone, team.rank());
        }
      }
    });
  }

  void check(const SampleRequest& request) const {
    const LoopShape shape = this->shape();
    const std::size_t n = request.n, elements = shape.elements();
    if (request.table.data == nullptr || request.table.rows == 0) {
      fail_argument("table", "at least one row", "none");
    }
    if (n > 0 && request.seeds == nullptr) fail_argument("seeds", "a pointer to n values", "null");
    if (request.context != nullptr && file_.context_width == 0) {
      fail_argument("context", "none, " + file_.name + " takes none", "one");
    }
    check_finite("context", request.context, n, static_cast<std::size_t>(file_.context_width));
    check_finite("guidance", request.guidance, n, 1);
    check_finite("guidance_rescale", request.guidance_rescale, n, 1);
    check_finite("x_T", request.x_T, n, elements);
    check_finite("image", request.image, n, elements);
    check_finite("mask", request.mask, n, shape.height * shape.width);
  }

  std::size_t run(const SampleRequest& request, float* out) const {
    const auto workspace = network_.lease();
    std::vector<float>& times = workspace->times;
    times.resize(request.table.rows);
    for (std::size_t k = 0; k < times.size(); ++k) {
      times[k] = static_cast<float>(request.table.data[k * kTableColumns]);
    }
    Conditions conditions;
    conditions.times = times.data();
    conditions.rows = times.size();
    conditions.context = request.context;
    conditions.n = conditions.fewest = request.n;
    conditions.unconditional = request.guidance != nullptr;
    conditions.most = request.guidance != nullptr ? 2 * request.n : request.n;
    const PlanStepper stepper(network_, conditions, *workspace);
    const std::size_t rows = run_loop(request, shape(), stepper, threads(), network_.options().isa,
                                      workspace->loop, out);
    workspace->let_go_of_excess();
    return rows;
  }

  EngineFile file_;
  Network network_;
};

}  // namespace

std::unique_ptr<Engine> Engine::make(EngineFile file, const EngineOptions& options) {
  if (file.levels > 0) fail_argument("engine file", "a diffusion model", "an autoregressive model");
  return std::make_unique<PlannedEngine>(std::move(file), options);
}

}  // namespace fd
