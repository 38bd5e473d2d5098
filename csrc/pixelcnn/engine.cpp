#include "pixelcnn/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "core/philox.h"
#include "core/team.h"
#include "pixelcnn/workspace.h"
#include "plan/tuner.h"

namespace fd {
namespace {

constexpr std::uint32_t kStreamChoice = 3;
constexpr int kMostAtOnce = 64;  // samples of one thread
constexpr double kGoodBytes = 1024.0 * 1024.0 * 1024.0, kMostBytes = 4 * kGoodBytes;
constexpr double kTuningBudget_s = 6.0;
constexpr int kMeasuredSubtimes = 8;

class PlannedPixelEngine final : public PixelEngine {
 public:
  PlannedPixelEngine(EngineFile file, const EngineOptions& options)
      : file_(std::move(file)),
        options_(plan_options(options)),
        graph_(pixel_graph(file_.step, file_.x)),
        values_(file_, graph_, options_),
        smallest_(fd::smallest_slope(graph_)) {
    const double bytes = evaluator(smallest_).map_bytes(1);
    if (bytes > kMostBytes) {
      fail_argument("model", "at most 4 GiB of memory a sample",
                    std::to_string(static_cast<long long>(bytes / kGoodBytes)) + " GiB");
    }
    choose(options);
  }

  const EngineFile& file() const override { return file_; }
  int threads() const override { return options_.threads; }
  std::int64_t smallest_slope() const override { return smallest_; }
  PixelRegime regime(std::size_t n) const override;
  std::string describe(std::size_t n) const override;
  double map_bytes(std::size_t n) const override {
    const PixelRegime how = regime(n);
    const double runs = how.together ? 1 : options_.threads;
    return runs * evaluator(how.slope).map_bytes(how.samples);
  }
  std::size_t sample(const PixelRequest& request, std::int32_t* out) const override;

 private:
  // A request on its way.
  struct Job {
    const PixelRequest& request;
    std::int32_t* out;
    const PixelEvaluator& evaluator;
    std::atomic<std::size_t> done{0};
    std::atomic<bool> stop{false};
  };

  std::size_t elements() const {
    return static_cast<std::size_t>(graph_.colours) * static_cast<std::size_t>(graph_.height) *
           static_cast<std::size_t>(graph_.width);
  }
  const PixelEvaluator& evaluator(std::int64_t slope) const;
  int capacity(std::int64_t slope, std::size_t wanted) const;
  void check(const PixelRequest& request) const;
  void choose(const EngineOptions& options);
  std::vector<PixelRegime> candidates(std::size_t n) const;
  double seconds_for(const PixelRegime& regime, std::size_t n) const;
  void run_block(Job& job, PixelWorkspace& work, std::size_t first, int samples, Team& team,
                 bool caller) const;
  void choose_pixels(Job& job, PixelWorkspace& work, std::size_t first, int samples,
                     Team& team) const;
  std::size_t finished(const Job& job) const;
  void draw_uniforms(const std::uint64_t* seeds, int samples, PixelWorkspace* work) const;

  EngineFile file_;
  PlanOptions options_;
  PixelGraph graph_;
  SampleInputs values_;
  std::int64_t smallest_;
  std::map<std::size_t, PixelRegime> regimes_;  // from so many samples on
  mutable std::mutex making_;
  mutable std::map<std::int64_t, std::unique_ptr<PixelEvaluator>> evaluators_;
  mutable PixelWorkspaces workspaces_;
};

const PixelEvaluator& PlannedPixelEngine::evaluator(std::int64_t slope) const {
  std::lock_guard<std::mutex> lock(making_);
  auto& made = evaluators_[slope];
  if (made == nullptr) {
    made = std::make_unique<PixelEvaluator>(graph_, slope, options_.precision, options_.isa);
  }
  return *made;
}

int PlannedPixelEngine::capacity(std::int64_t slope, std::size_t wanted) const {
  const double fits = kGoodBytes / options_.threads / evaluator(slope).map_bytes(1);
  const double most = std::min(static_cast<double>(kMostAtOnce), std::max(1.0, fits));
  return static_cast<int>(std::min(static_cast<double>(std::max<std::size_t>(wanted, 1)), most));
}

// The wavefront by all threads together while there are fewer samples than would keep each busy on
// its own; pixel by pixel where samples fill the rows of a product.
std::vector<PixelRegime> PlannedPixelEngine::candidates(std::size_t n) const {
  const auto threads = static_cast<std::size_t>(options_.threads);
  const std::int64_t raster = std::max<std::int64_t>(smallest_, graph_.width);
  std::vector<PixelRegime> found;
  const auto add = [&](std::int64_t slope, bool together) {
    const std::size_t each = together ? n : (n + threads - 1) / threads;
    found.push_back({slope, together, capacity(slope, each)});
  };
  const bool few = n < 2 * threads;
  add(n < 32 ? smallest_ : raster, few && threads > 1);
  if (threads > 1) add(n < 32 ? smallest_ : raster, !few);
  if (raster != smallest_) add(n < 32 ? raster : smallest_, few && threads > 1);
  return found;
}

void PlannedPixelEngine::choose(const EngineOptions& options) {
  Tuner tuner(options.cache_dir.empty() ? default_cache_folder() : options.cache_dir,
              options.autotune ? kTuningBudget_s : 0);
  const auto threads = static_cast<std::size_t>(options_.threads);
  std::vector<std::size_t> sizes;
  for (std::size_t n = 1; n <= threads * kMostAtOnce; n *= 2) sizes.push_back(n);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::vector<PixelRegime> all = candidates(sizes[i]);
    std::size_t chosen = 0;
    if (options.autotune) {
      if (options.progress) options.progress(i, sizes.size());
      std::vector<std::string> names;
      double flops = 0;
      for (const PixelOp& op : graph_.ops) {
        flops += 1.0 * op.channels * op.in_channels * static_cast<double>(op.taps.size());
      }
      for (const PixelRegime& regime : all) {
        names.push_back((regime.together ? "together " : "alone ") + std::to_string(regime.slope));
      }
      const std::string key = std::string("pixels ") + isa_name(options_.isa) + " " + file_.name +
                              " " + std::to_string(static_cast<long long>(flops)) + " " +
                              std::to_string(graph_.height) + "x" + std::to_string(graph_.width) +
                              (options_.precision == Precision::bf16 ? " bf16" : " f32") + " t" +
                              std::to_string(options_.threads) + " n" + std::to_string(sizes[i]);
      chosen =
          tuner.choose(key, names, [&](std::size_t k) { return seconds_for(all[k], sizes[i]); });
    }
    regimes_[sizes[i]] = all[chosen];
  }
  if (options.autotune && options.progress) options.progress(sizes.size(), sizes.size());
}

// A run of n samples: some subtimes, evenly spread from the first to the last, by as many threads
// at once as have samples, since they share caches and memory.
double PlannedPixelEngine::seconds_for(const PixelRegime& regime, std::size_t n) const {
  const PixelEvaluator& evaluator = this->evaluator(regime.slope);
  const Wavefront& plan = evaluator.plan();
  const std::int64_t begin = plan.first_subtime(), end = plan.last_subtime() + 1;
  const int members = regime.together ? 1 : std::min(options_.threads, static_cast<int>(n));
  const PixelWorkspaces::Key key{&evaluator, regime.samples,
                                 regime.together ? options_.threads : 1};
  std::vector<std::unique_ptr<PixelWorkspace>> work;
  for (int i = 0; i < members; ++i) {
    work.push_back(workspaces_.take(key, values_));
    values_.compute(nullptr, regime.samples, regime.samples, &work.back()->request);
    work.back()->run.begin(regime.samples, work.back()->request.values.data());
  }
  double seconds = 0;
  run_team(options_.threads, [&](Team& team) {
    Team alone = Team::alone();
    const bool works = regime.together || team.rank() < members;
    PixelRun& run =
        work[regime.together || !works ? 0 : static_cast<std::size_t>(team.rank())]->run;
    Team& mine = regime.together ? team : alone;
    for (int k = 0; k < kMeasuredSubtimes; ++k) {
      const std::int64_t subtime = begin + (2 * k + 1) * (end - begin) / (2 * kMeasuredSubtimes);
      if (works) run.step(subtime, mine);  // what it reads comes near
      team.barrier();
      const auto from = std::chrono::steady_clock::now();
      if (works) run.step(subtime, mine);
      team.barrier();
      const auto to = std::chrono::steady_clock::now();
      if (team.rank() == 0) seconds += std::chrono::duration<double>(to - from).count();
    }
  });
  for (auto& each : work) workspaces_.give_back(key, std::move(each));
  const double steps = static_cast<double>(end - begin) / kMeasuredSubtimes;
  const double at_once = 1.0 * regime.samples * members;
  return seconds * steps * std::max(1.0, static_cast<double>(n) / at_once);
}

PixelRegime PlannedPixelEngine::regime(std::size_t n) const {
  auto found = regimes_.upper_bound(std::max<std::size_t>(n, 1));
  PixelRegime how = (--found)->second;
  const auto threads = static_cast<std::size_t>(options_.threads);
  how.samples = capacity(how.slope, how.together ? n : (n + threads - 1) / threads);
  return how;
}

void PlannedPixelEngine::check(const PixelRequest& request) const {
  if (request.n > 0 && request.seeds == nullptr) {
    fail_argument("seeds", "a pointer to n values", "null");
  }
  if (!(request.rule.temperature > 0) || !std::isfinite(request.rule.temperature)) {
    fail_argument("temperature", "a positive number", std::to_string(request.rule.temperature));
  }
  if (request.rule.top_k < 0 || request.rule.top_k > graph_.levels) {
    fail_argument("top_k", "0 (all) to " + std::to_string(graph_.levels),
                  std::to_string(request.rule.top_k));
  }
  if (request.context != nullptr && file_.context_width == 0) {
    fail_argument("context", "none, " + file_.name + " takes none", "one");
  }
  const auto width = static_cast<std::size_t>(file_.context_width);
  for (std::size_t i = 0; request.context != nullptr && i < request.n * width; ++i) {
    if (std::isfinite(request.context[i])) continue;
    fail_argument("context", "finite numbers",
                  std::to_string(request.context[i]) + " in sample " + std::to_string(i / width));
  }
  for (std::size_t i = 0; request.given != nullptr && i < request.n * elements(); ++i) {
    if (request.given[i] >= -1 && request.given[i] < graph_.levels) continue;
    fail_argument(
        "given", "levels below " + std::to_string(graph_.levels) + ", or -1",
        std::to_string(request.given[i]) + " in sample " + std::to_string(i / elements()));
  }
  if (request.slope >= 0 && request.slope < smallest_) {
    fail_argument("slope", "at least " + std::to_string(smallest_), std::to_string(request.slope));
  }
}

void PlannedPixelEngine::draw_uniforms(const std::uint64_t* seeds, int samples,
                                       PixelWorkspace* work) const {
  const std::size_t count = elements();
  work->uniforms.resize(static_cast<std::size_t>(samples) * count);
  for (std::size_t s = 0; s < static_cast<std::size_t>(samples); ++s) {
    for (std::size_t e = 0; e < count; e += 4) {
      const PhiloxBlock words =
          noise_block(seeds[s], 0, kStreamChoice, static_cast<std::uint32_t>(e / 4));
      for (std::size_t k = 0; k < 4 && e + k < count; ++k) {
        work->uniforms[s * count + e + k] = uniform_of_word(words.word[k]);
      }
    }
  }
}

// The pixels whose logits are there, shared out over the team.
void PlannedPixelEngine::choose_pixels(Job& job, PixelWorkspace& work, std::size_t first,
                                       int samples, Team& team) const {
  const Wavefront& plan = job.evaluator.plan();
  const auto width = static_cast<std::size_t>(graph_.width),
             height = static_cast<std::size_t>(graph_.height);
  const auto colours = static_cast<std::size_t>(graph_.colours);
  std::vector<float>& scratch = work.scratch[static_cast<std::size_t>(team.rank())];
  std::size_t chosen = 0;
  for (int c = 0; c < graph_.colours; ++c) {
    const Wavefront::Positions due = work.run.due(c);
    const int count = (due.last_row - due.first_row + 1) * samples;
    for (int k = team.rank(); k < count; k += team.size()) {
      const int row = due.first_row + k / samples, sample = k % samples;
      const int column = static_cast<int>(due.column - plan.slope * (k / samples));
      const std::size_t pixel =
          static_cast<std::size_t>(row) * width + static_cast<std::size_t>(column);
      const std::size_t at = (first + static_cast<std::size_t>(sample)) * elements() +
                             static_cast<std::size_t>(c) * height * width + pixel;
      const float u = work.uniforms[static_cast<std::size_t>(sample) * elements() +
                                    pixel * colours + static_cast<std::size_t>(c)];
      const float* logits = work.run.logits(c, k / samples, sample);
      std::int32_t level = job.request.given == nullptr ? -1 : job.request.given[at];
      if (level < 0) {
        level =
            choose_level(logits, graph_.levels, u, job.request.rule, options_.isa, scratch.data());
      }
      if (job.request.log_p != nullptr) {
        const double log_p = log_probability(logits, graph_.levels, level);
        job.request.log_p[at] = static_cast<float>(log_p);
      }
      job.out[at] = level;
      work.run.set_pixel(row, column, c, sample,
                         static_cast<float>(level * file_.input_scale + file_.input_shift));
      ++chosen;
    }
  }
  job.done += chosen;
}

void PlannedPixelEngine::run_block(Job& job, PixelWorkspace& work, std::size_t first, int samples,
                                   Team& team, bool caller) const {
  if (team.rank() == 0) {
    const float* context = job.request.context;
    if (context != nullptr) context += first * static_cast<std::size_t>(file_.context_width);
    values_.compute(context, samples, work.run.capacity(), &work.request);
    work.run.begin(samples, work.request.values.data());
    draw_uniforms(job.request.seeds + first, samples, &work);
    work.scratch.resize(static_cast<std::size_t>(options_.threads));
    for (auto& each : work.scratch) each.resize(2 * static_cast<std::size_t>(graph_.levels));
  }
  team.barrier();
  const Wavefront& plan = job.evaluator.plan();
  const std::size_t total = job.request.n * elements();
  for (std::int64_t subtime = plan.first_subtime(); subtime <= plan.last_subtime(); ++subtime) {
    work.run.step(subtime, team);
    choose_pixels(job, work, first, samples, team);
    if (caller && job.request.on_progress && !job.request.on_progress(job.done, total)) {
      job.stop = true;
    }
    team.barrier();
    if (job.stop) return;
  }
}

// The caller is told of the last pixel, too, which may have been another thread's.
std::size_t PlannedPixelEngine::finished(const Job& job) const {
  const std::size_t total = job.request.n * elements();
  if (job.done == total && job.request.on_progress) job.request.on_progress(total, total);
  return job.done;
}

std::size_t PlannedPixelEngine::sample(const PixelRequest& request, std::int32_t* out) const {
  check(request);
  std::fill(out, out + request.n * elements(), -1);
  if (request.n == 0) return 0;
  PixelRegime how = regime(request.n);
  if (request.slope >= 0) how.slope = request.slope;
  const auto block = static_cast<std::size_t>(how.samples);
  const std::size_t blocks = (request.n + block - 1) / block;
  Job job{request, out, evaluator(how.slope)};
  const PixelWorkspaces::Key key{&job.evaluator, how.samples, how.together ? options_.threads : 1};
  // Blocks of about the same size.
  const auto begin_of = [&](std::size_t i) { return i * request.n / blocks; };
  const auto samples_of = [&](std::size_t i) {
    return static_cast<int>(begin_of(i + 1) - begin_of(i));
  };
  if (how.together) {
    auto work = workspaces_.take(key, values_);
    run_team(options_.threads, [&](Team& team) {
      for (std::size_t i = 0; i < blocks && !job.stop; ++i) {
        run_block(job, *work, begin_of(i), samples_of(i), team, team.rank() == 0);
      }
    });
    workspaces_.give_back(key, std::move(work));
    return finished(job);
  }
  std::atomic<std::size_t> next{0};
  run_team(options_.threads, [&](Team& team) {
    auto work = workspaces_.take(key, values_);
    Team alone = Team::alone();
    for (std::size_t i = next++; i < blocks && !job.stop; i = next++) {
      run_block(job, *work, begin_of(i), samples_of(i), alone, team.rank() == 0);
    }
    workspaces_.give_back(key, std::move(work));
  });
  return finished(job);
}

std::string PlannedPixelEngine::describe(std::size_t n) const {
  const PixelRegime how = regime(n);
  const Wavefront& plan = evaluator(how.slope).plan();
  std::size_t rings = 0;
  int most = 0;
  for (const MapPlace& map : plan.maps) {
    rings += map.rows > 0 ? 1 : 0;
    most = std::max(most, map.rows);
  }
  const std::int64_t subtimes = plan.last_subtime() + 1 - plan.first_subtime();
  return file_.name + " on " + isa_name(options_.isa) + ", " +
         (options_.precision == Precision::bf16 ? "bf16" : "float32") + ", " +
         std::to_string(options_.threads) + (options_.threads == 1 ? " thread" : " threads") +
         "; slope " + std::to_string(how.slope) + " (smallest " + std::to_string(smallest_) +
         "): " + std::to_string(subtimes) + " steps for " + std::to_string(elements()) +
         " choices, " +
         (how.together ? "by all threads together" : "each thread on its own samples") + ", " +
         std::to_string(how.samples) + " at once, at batch " + std::to_string(n) + "\n" +
         std::to_string(plan.stages.size()) + " stages; " + std::to_string(rings) +
         " maps kept, of at most " + std::to_string(most) + " rows, " +
         std::to_string(static_cast<long long>(map_bytes(n) / 1024)) + " KiB in all\n";
}

}  // namespace

std::unique_ptr<PixelEngine> PixelEngine::make(EngineFile file, const EngineOptions& options) {
  if (file.levels == 0)
    fail_argument("engine file", "an autoregressive model", "a diffusion model");
  return std::make_unique<PlannedPixelEngine>(std::move(file), options);
}

}  // namespace fd
