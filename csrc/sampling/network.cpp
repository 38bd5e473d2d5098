#include "sampling/network.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/json.h"

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

// Samples of one run, at most `most`, such that its memory, `bytes(samples)`, stays good.
template <class Bytes>
std::size_t fitting(std::size_t most, const Bytes& bytes) {
  while (most > 1 && bytes(static_cast<int>(most)) > kGoodBytes) most /= 2;
  return most;
}

std::size_t output_named(const Plan& plan, const std::string& name) {
  std::size_t i = 0;
  while (i < plan.output_count() && plan.output_name(i) != name) ++i;
  return i;
}

}  // namespace

Network::Network(const EngineFile& file, const PlanOptions& options)
    : file_(file),
      options_(options),
      row_(file.row, options),
      request_(file.request, options),
      row_request_(file.row_request, options),
      step_(file.step, options) {
  check_memory();
  for (Part* part : {&row_, &request_, &row_request_, &step_}) {
    part->sources = sources_of(part->plan);
    if (part != &step_) part->plan.pack(kLines);
  }
  block_ = fitting_block(block_);
}

std::vector<Source> Network::sources_of(const Plan& plan) const {
  std::vector<Source> sources;
  for (std::size_t i = 0; i < plan.input_count(); ++i) {
    const std::string& name = plan.input_name(i);
    const std::size_t row = output_named(row_.plan, name);
    const std::size_t context = output_named(request_.plan, name);
    const std::size_t pair = output_named(row_request_.plan, name);
    Source source;
    source.floats = plan.input_floats(i);
    const auto from = [&](Source::Kind kind, std::size_t table) {
      source.kind = kind;
      source.table = table;
    };
    if (name == file_.t) {
      from(Source::row, 0);
    } else if (name == file_.context) {
      from(Source::context, 0);
    } else if (row < row_.plan.output_count()) {
      from(Source::row, 1 + row);
    } else if (context < request_.plan.output_count()) {
      from(Source::context, 1 + context);
    } else if (pair < row_request_.plan.output_count()) {
      from(Source::pair, pair);
    } else if (name != file_.x) {
      fail_argument("engine file", "a step of x, t, context and what its parts make", name);
    }
    sources.push_back(source);
  }
  return sources;
}

void Network::check_memory() const {
  for (const Part* part : {&row_, &request_, &row_request_, &step_}) {
    check_bytes(file_, part->plan.run_bytes(1), "a sample");
    check_bytes(file_, scratch_bytes(part->plan, 1), "a thread");
  }
  check_row_tables(file_.table_rows(), "for its table's rows");
}

void Network::check_row_tables(std::size_t rows, const char* what) const {
  check_bytes(file_, row_.plan.output_bytes() * static_cast<double>(rows), what);
}

std::size_t Network::chunk() const {
  const double bytes = row_.plan.output_bytes() + request_.plan.output_bytes();
  const double most = kGoodBytes / std::max(bytes, 1.0);
  return most >= kChunk ? kChunk : std::max<std::size_t>(1, static_cast<std::size_t>(most));
}

std::size_t Network::lines_at_once(const Part& part) const {
  return fitting(kMaxBlock, [&](int samples) { return part.plan.run_bytes(samples); });
}

std::size_t Network::fitting_block(std::size_t most) const {
  return fitting(most, [&](int samples) {
    return std::max(step_.plan.run_bytes(samples), row_request_.plan.run_bytes(samples));
  });
}

std::string Network::describe(const Regime& regime) const {
  std::lock_guard<std::mutex> lock(packing_);
  const double bytes = row_request_.plan.output_bytes();
  if (bytes == 0) return step_.plan.describe(regime);
  return "row_request, for each row of the table and distinct context: once a request for up to " +
         std::to_string(static_cast<std::size_t>(kMostPairBytes / bytes)) +
         " of them, which are stored (" + std::to_string(kMostPairBytes >> 20) +
         " MiB), else before each step\n" + row_request_.plan.describe(kLines) + "step\n" +
         step_.plan.describe(regime);
}

// What a worker needs to compute any part, and to make what is not stored beside the step.
WorkerNeeds Network::worker_needs() const {
  WorkerNeeds needs;
  needs.workers = static_cast<std::size_t>(options_.threads);
  const auto include = [&](const Part& part, std::size_t samples) {
    const int capacity = static_cast<int>(samples);
    needs.arena = std::max(needs.arena, part.plan.arena_floats(capacity));
    needs.scratch = std::max(needs.scratch, part.plan.scratch_floats(capacity));
    needs.inputs = std::max(needs.inputs, part.sources.size());
    return static_cast<std::size_t>(part.plan.input_floats() + part.plan.output_floats()) * samples;
  };
  for (const Part* part : {&row_, &request_, &row_request_}) {
    needs.staging = std::max(needs.staging, include(*part, lines_at_once(*part)));
    needs.outputs = std::max(needs.outputs, part->plan.output_count());
  }
  needs.outputs += step_.plan.output_count();
  needs.staging = std::max(needs.staging, include(row_request_, block_) + include(step_, block_));
  return needs;
}

void Network::make_ready(const Regime& alone, const Regime* team,
                         std::vector<WorkerMemory>& memory) const {
  std::unique_lock<std::mutex> lock(packing_);
  for (const Regime* regime : {&alone, team}) {
    for (Part* part : {&row_request_, &step_}) {
      if (regime == nullptr) continue;
      bool& packed = part->packed[regime->index()];
      if (!packed) part->plan.pack(*regime);
      packed = true;
      check_bytes(file_, scratch_bytes(part->plan, block_), "a thread");
    }
  }
  const WorkerNeeds needs = worker_needs();
  lock.unlock();
  hold(memory, needs);
}

}  // namespace fd
