#include "sampling/request_values.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/team.h"
#include "sampling/bind_inputs.h"
#include "sampling/network.h"

namespace fd {
namespace {

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

// Puts values into a table of `before` floats; false where they were there already.
bool changed(AlignedFloats& table, std::size_t before, const float* values, std::size_t count) {
  const bool same = count == before && count <= table.size() &&
                    std::equal(values, values + count, table.data(), same_bits);
  if (same) return false;
  table.hold(count);
  std::copy_n(values, count, table.data());
  return true;
}

}  // namespace

void RequestValues::compute(const Network& network, const Conditions& conditions,
                            std::vector<WorkerMemory>& workers) {
  const auto width = static_cast<std::size_t>(network.file().context_width);
  contexts_.find(conditions.context, conditions.n, width, conditions.unconditional);
  const std::size_t rows = conditions.rows, contexts = contexts_.count();
  network.check_row_tables(rows, "for a table's rows");
  const bool complete = complete_;
  complete_ = false;  // until all is done
  tables_[Source::row].resize(1 + network.row().plan.output_count());
  tables_[Source::context].resize(1 + network.request().plan.output_count());
  tables_[Source::pair].resize(network.row_request().plan.output_count());
  AlignedFloats* by_row = tables_[Source::row].data();
  AlignedFloats* by_context = tables_[Source::context].data();
  const bool row_changed = changed(by_row[0], rows_, conditions.times, rows) || !complete;
  const bool context_changed =
      changed(by_context[0], context_count_ * width, contexts_.values().data(), contexts * width) ||
      contexts != context_count_ || !complete;
  rows_ = rows;
  context_count_ = contexts;
  if (row_changed) compute_part(network, network.row(), by_row + 1, rows, 1, workers);
  if (context_changed) {
    compute_part(network, network.request(), by_context + 1, 1, contexts, workers);
  }
  const double bytes = network.row_request().plan.output_bytes() * static_cast<double>(rows) *
                       static_cast<double>(contexts);
  const bool known = pairs_stored_ && !row_changed && !context_changed;
  pairs_stored_ = conditions.every_row && bytes <= kMostPairBytes;
  if (pairs_stored_ && !known) {
    compute_part(network, network.row_request(), tables_[Source::pair].data(), rows, contexts,
                 workers);
  }
  complete_ = true;
}

// A table's line `row + context * rows` for all rows and contexts, a block of lines at a time.
void RequestValues::compute_part(const Network& network, const Part& part, AlignedFloats* tables,
                                 std::size_t rows, std::size_t contexts,
                                 std::vector<WorkerMemory>& workers) {
  const Plan& plan = part.plan;
  const std::size_t lines = rows * contexts, block = network.lines_at_once(part);
  if (plan.output_count() == 0) return;
  for (std::size_t i = 0; i < plan.output_count(); ++i) {
    tables[i].hold(static_cast<std::size_t>(plan.output_floats(i)) * lines);
  }
  const std::size_t blocks = (lines + block - 1) / block;
  std::atomic<std::size_t> next{0};
  const int threads =
      static_cast<int>(std::min(blocks, static_cast<std::size_t>(network.options().threads)));
  run_team(std::max(threads, 1), [&](Team& team) {
    WorkerMemory& memory = workers[static_cast<std::size_t>(team.rank())];
    Team alone = Team::alone();
    for (std::size_t k; (k = next.fetch_add(1, std::memory_order_relaxed)) < blocks;) {
      const std::size_t first = k * block, count = std::min(block, lines - first);
      float* staging = memory.staging.data();
      bind_inputs(
          part.sources, count,
          [&](const Source& source, std::size_t i) {
            return at(source, (first + i) % rows, (first + i) / rows);
          },
          true, memory.inputs.data(), &staging);
      for (std::size_t i = 0; i < plan.output_count(); ++i) {
        const std::ptrdiff_t floats = plan.output_floats(i);
        memory.outputs[i] = {tables[i].data() + static_cast<std::ptrdiff_t>(first) * floats,
                             floats};
      }
      plan.run(static_cast<int>(count), kLines, memory.inputs.data(), memory.outputs.data(),
               memory.arena.data(), static_cast<int>(block), memory.scratch.data(), alone);
    }
  });
}

std::size_t RequestValues::bytes() const {
  std::size_t floats = contexts_.values().capacity();
  for (const std::vector<AlignedFloats>& kind : tables_) {
    for (const AlignedFloats& table : kind) floats += table.size();
  }
  return floats * sizeof(float);
}

}  // namespace fd
