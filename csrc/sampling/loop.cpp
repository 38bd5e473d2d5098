#include "sampling/loop.h"

#include <algorithm>
#include <chrono>

#include "core/cpu_count.h"
#include "core/error.h"
#include "core/team.h"
#include "sampling/row_asks.h"
#include "sampling/trajectory.h"

namespace fd {
namespace {

using Clock = std::chrono::steady_clock;

// A team that is smaller than was asked for is made anew after this long, between two rows: who
// was busy may be free now. Making one takes 100 us at most, 0.5 % of this.
constexpr auto kTeamTerm = std::chrono::milliseconds(20);

// What a callback sees after row k.
class View final : public RowView {
 public:
  View(const Trajectory& trajectory, std::size_t k) : trajectory_(trajectory), k_(k) {}

  std::size_t rows_done() const override { return k_ + 1; }
  const float* x() const override { return trajectory_.x(k_ + 1); }
  bool has_x0() const override { return trajectory_.has_x0(k_); }
  void x0(float* out) const override { trajectory_.x0(k_, out); }

 private:
  const Trajectory& trajectory_;
  const std::size_t k_;
};

// One request on its way through the rows. Every member of a team calls run(); a barrier stands
// between whatever one writes and another reads, and members of what is not shared are written by
// rank 0 alone.
//
// A row is two phases: the network on all asks, then guidance and update on all samples, each
// element by one member. Nothing is allocated on the way.
class Loop {
 public:
  Loop(const SampleRequest& request, const LoopShape& shape, const Stepper& stepper, int threads,
       Isa isa, LoopMemory& memory)
      : request_(request),
        threads_(threads),
        trajectory_(request, shape, isa, memory),
        asks_(stepper, trajectory_, request.n, memory.asks) {}

  bool finished() const { return stopped_ || rows_done_ == trajectory_.rows(); }
  std::size_t rows_done() const { return rows_done_; }
  const float* x() const { return trajectory_.x(rows_done_); }

  // Rows until the last, or until it is stopped, or until the team is to be made anew.
  void run(Team& team) {
    const Clock::time_point formed = Clock::now();
    if (!started_) {
      if (team.rank() == 0) asks_.write(0);
      trajectory_.start(team);
      team.barrier();
    }
    for (std::size_t k = rows_done_;; ++k) {
      asks_.answer(team);
      team.barrier();
      if (trajectory_.rescaled(k)) {
        trajectory_.find_factors(k, team);
        team.barrier();
      }
      if (team.rank() == 0) {  // for the next row; nobody looks at these before the barrier
        started_ = true;
        rows_done_ = k + 1;
        parting_ = finished() || (team.size() < threads_ && Clock::now() - formed > kTeamTerm);
        if (k + 1 < trajectory_.rows()) asks_.write(k + 1);
      }
      trajectory_.update(k, team);
      team.barrier();
      if (request_.after_row) {
        if (team.rank() == 0) report(k);
        team.barrier();
      }
      if (parting_) return;
    }
  }

 private:
  void report(std::size_t k) {
    if (!request_.after_row(View(trajectory_, k))) stopped_ = parting_ = true;
  }

  const SampleRequest& request_;
  const int threads_;
  Trajectory trajectory_;
  RowAsks asks_;
  std::size_t rows_done_ = 0;
  bool started_ = false, parting_ = false, stopped_ = false;
};

void check(const SampleRequest& request, const float* out) {
  const auto need = [](bool there, const char* name, const char* expected) {
    if (!there) fail_argument(name, expected, "none");
  };
  need(request.table.data && request.table.rows != 0, "table", "at least one row");
  need(request.seeds, "seeds", "one for every sample");
  need(out, "out", "memory for every sample");
  need(request.image || !request.mask, "image", "one to keep a part of, beside a mask");
  need(request.image || !request.from_image, "image", "one to start from");
  if (request.first_rows) fail_argument("first_rows", "null, which is all there is yet", "rows");
}

}  // namespace

std::size_t run_loop(const SampleRequest& request, const LoopShape& shape, const Stepper& stepper,
                     int threads, Isa isa, LoopMemory& memory, float* out) {
  if (request.n == 0) return request.table.rows;
  check(request, out);
  threads = std::min(threads == 0 ? default_thread_count() : threads, stepper.workers());
  Loop loop(request, shape, stepper, threads, isa, memory);
  while (!loop.finished()) run_team(threads, [&loop](Team& team) { loop.run(team); });
  std::copy_n(loop.x(), request.n * shape.elements(), out);
  return loop.rows_done();
}

}  // namespace fd
