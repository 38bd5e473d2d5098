#include "sampling/loop.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "core/cpu_count.h"
#include "core/error.h"
#include "core/team.h"
#include "cpu/update.h"
#include "sampling/blocks.h"
#include "sampling/loop_memory.h"
#include "sampling/table.h"

namespace fd {
namespace {

using Clock = std::chrono::steady_clock;

// A team that is smaller than was asked for is made anew after this long, between two rows: who
// was busy may be free now. Making one takes 100 us at most, 0.5 % of this.
constexpr auto kTeamTerm = std::chrono::milliseconds(20);

// Updates are shared out in groups of this many elements: whole groups of the noise kernels and
// whole cache lines.
constexpr std::size_t kGroup = 64;

// One request on its way through the rows. Every member of a team calls run(); a barrier stands
// between whatever one writes and another reads, and members of what is not shared are written by
// rank 0 alone.
//
// A row is two phases: the network on all asks, then guidance and update on all samples, each
// element by one member. Nothing is allocated on the way.
class Loop {
 public:
  Loop(const SampleRequest& request, const LoopShape& shape, const Stepper& stepper, int threads,
       Isa isa)
      : request_(request),
        stepper_(stepper),
        isa_(isa),
        threads_(threads),
        elements_(shape.elements()),
        plane_(shape.height * shape.width),
        depths_(table_depths(request.table)),
        rows_(table_weights(request.table)),
        guided_rows_(
            request.guidance && request.context ? std::min(request.guided_rows, rows_.size()) : 0),
        memory_(request.table, request.n, elements_, guided_rows_ != 0) {}

  bool finished() const { return stopped_ || rows_done_ == rows_.size(); }
  std::size_t rows_done() const { return rows_done_; }
  const float* x() { return memory_.x(rows_done_); }

  // Rows until the last, or until it is stopped, or until the team is to be made anew.
  void run(Team& team) {
    const Clock::time_point formed = Clock::now();
    if (!started_) {
      start(team);
      team.barrier();
    }
    for (std::size_t k = rows_done_;; ++k) {
      predict(k, team);
      team.barrier();
      if (request_.guidance_rescale && guided(k)) {
        find_factors(k, team);
        team.barrier();
      }
      if (team.rank() == 0) {  // for the next row; nobody looks at these before the barrier
        next_block_.store(0, std::memory_order_relaxed);
        started_ = true;
        rows_done_ = k + 1;
        parting_ = finished() || (team.size() < threads_ && Clock::now() - formed > kTeamTerm);
        write_asks(k + 1);
      }
      update(k, team);
      team.barrier();
      if (request_.after_row) {
        if (team.rank() == 0) report(k);
        team.barrier();
      }
      if (parting_) return;
    }
  }

 private:
  class View;

  bool guided(std::size_t k) const { return k < guided_rows_; }
  std::size_t asks(std::size_t k) const { return guided(k) ? 2 * request_.n : request_.n; }
  bool scaled(std::size_t k) const { return k < rows_.size() && rows_[k].in_scale != 1; }

  template <class T>
  T* of_sample(T* array, std::size_t sample) const {
    return array ? array + sample * elements_ : nullptr;
  }

  // body(sample, begin, end) on this member's share of all elements of all samples.
  template <class Body>
  void share(const Team& team, const Body& body) const {
    const std::size_t groups = (elements_ + kGroup - 1) / kGroup, total = request_.n * groups;
    const auto rank = static_cast<std::size_t>(team.rank());
    const auto size = static_cast<std::size_t>(team.size());
    const std::size_t last = total * (rank + 1) / size;
    for (std::size_t at = total * rank / size; at < last;) {
      const std::size_t first = at % groups, count = std::min(groups - first, last - at);
      body(at / groups, first * kGroup, std::min(elements_, (first + count) * kGroup));
      at += count;
    }
  }

  // What a mask keeps of a sample's image in x_k.
  Kept kept(std::size_t sample, std::size_t k) const {
    Kept kept;
    if (!request_.mask) return kept;
    kept.mask = request_.mask + sample * plane_;
    kept.image = of_sample(request_.image, sample);
    kept.plane = plane_;
    if (k < rows_.size()) {  // and after the last row the image itself
      kept.alpha = rows_[k].alpha;
      kept.sigma = rows_[k].sigma;
    }
    return kept;
  }

  void start(Team& team) {
    if (team.rank() == 0) write_asks(0);
    share(team, [this](std::size_t sample, std::size_t begin, std::size_t end) {
      SampleStart start;
      start.seed = request_.seeds[sample];
      start.x_T = of_sample(request_.x_T, sample);
      start.image = request_.from_image ? of_sample(request_.image, sample) : nullptr;
      start.alpha = rows_[0].alpha;
      start.sigma = rows_[0].sigma;
      start.init_scale = static_cast<float>(request_.table.init_scale);
      start.kept = kept(sample, 0);
      start.out = of_sample(memory_.x(0), sample);
      start.scaled = scaled(0) ? of_sample(memory_.scaled(), sample) : nullptr;
      start.in_scale = rows_[0].in_scale;
      fd::start(start, begin, end, isa_);
    });
  }

  // A sample's two asks of a guided row are neighbours: they read the same x.
  void write_asks(std::size_t k) {
    if (k == rows_.size()) return;
    Ask* ask = memory_.asks.data();
    const float* x = scaled(k) ? memory_.scaled() : memory_.x(k);
    for (std::size_t sample = 0; sample < request_.n; ++sample) {
      const auto write = [&](bool unconditional, float* m) {
        *ask++ = {static_cast<std::uint32_t>(sample), static_cast<std::int32_t>(k), unconditional,
                  of_sample(x, sample), of_sample(m, sample)};
      };
      if (guided(k)) write(true, memory_.uncond());
      write(false, memory_.m(k));
    }
  }

  // Blocks to whoever is free; or where there are fewer asks than members, one after the other by
  // all together.
  void predict(std::size_t k, Team& team) {
    const std::size_t count = asks(k), most = stepper_.max_asks();
    const auto members = static_cast<std::size_t>(team.size());
    const Ask* ask = memory_.asks.data();
    if (count < members) {
      for (std::size_t first = 0; first < count; first += most) {
        if (first != 0) team.barrier();
        stepper_.predict(ask + first, std::min(most, count - first), team, 0);
      }
      return;
    }
    const Blocks blocks = balanced_blocks(count, members, most);
    Team alone = Team::alone();
    for (;;) {
      const std::size_t block = next_block_.fetch_add(1, std::memory_order_relaxed);
      if (block >= blocks.count) return;
      const std::size_t first = blocks.first(block);
      stepper_.predict(ask + first, blocks.first(block + 1) - first, alone, team.rank());
    }
  }

  void find_factors(std::size_t k, const Team& team) {
    const auto size = static_cast<std::size_t>(team.size());
    for (auto sample = static_cast<std::size_t>(team.rank()); sample < request_.n; sample += size) {
      memory_.factors[sample] =
          guidance_factor(of_sample(memory_.uncond(), sample), of_sample(memory_.m(k), sample),
                          request_.guidance[sample], request_.guidance_rescale[sample], elements_);
    }
  }

  void update(std::size_t k, const Team& team) {
    share(team, [this, k](std::size_t sample, std::size_t begin, std::size_t end) {
      SampleUpdate update;
      update.row = &rows_[k];
      update.seed = request_.seeds[sample];
      update.step = static_cast<std::uint32_t>(k);
      const auto looks = [k](int depth) {
        return std::min(k + 1, static_cast<std::size_t>(depth));
      };
      for (std::size_t back = 0; back < looks(depths_.x); ++back) {
        update.x[back] = of_sample(memory_.x(k - back), sample);
      }
      update.m = of_sample(memory_.m(k), sample);
      for (std::size_t back = 1; back < looks(depths_.m); ++back) {
        update.older_m[back] = of_sample(memory_.m(k - back), sample);
      }
      if (guided(k)) {
        update.uncond = of_sample(memory_.uncond(), sample);
        update.guidance = request_.guidance[sample];
        if (request_.guidance_rescale) update.factor = memory_.factors[sample];
      }
      update.kept = kept(sample, k + 1);
      update.out = of_sample(memory_.x(k + 1), sample);
      if (scaled(k + 1)) {
        update.scaled = of_sample(memory_.scaled(), sample);
        update.in_scale = rows_[k + 1].in_scale;
      }
      fd::update(update, begin, end, isa_);
    });
  }

  void report(std::size_t k);

  const SampleRequest& request_;
  const Stepper& stepper_;
  const Isa isa_;
  const int threads_;
  const std::size_t elements_, plane_;
  const Depths depths_;
  const std::vector<RowWeights> rows_;
  const std::size_t guided_rows_;
  LoopMemory memory_;
  std::atomic<std::size_t> next_block_{0};
  std::size_t rows_done_ = 0;
  bool started_ = false, parting_ = false, stopped_ = false;
};

// What a callback sees after row k.
class Loop::View final : public RowView {
 public:
  View(Loop& loop, std::size_t k) : loop_(loop), k_(k) {}

  std::size_t rows_done() const override { return k_ + 1; }
  const float* x() const override { return loop_.memory_.x(k_ + 1); }
  bool has_x0() const override { return row().x0_from_x != 0 || row().x0_from_m != 0; }
  void x0(float* out) const override {
    predicted_x0(row(), loop_.memory_.x(k_), loop_.memory_.m(k_), out,
                 loop_.request_.n * loop_.elements_, loop_.isa_);
  }

 private:
  const RowWeights& row() const { return loop_.rows_[k_]; }

  Loop& loop_;
  const std::size_t k_;
};

void Loop::report(std::size_t k) {
  if (request_.after_row(View(*this, k))) return;
  stopped_ = parting_ = true;
}

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
                     int threads, Isa isa, float* out) {
  if (request.n == 0) return request.table.rows;
  check(request, out);
  threads = std::min(threads == 0 ? default_thread_count() : threads, stepper.workers());
  Loop loop(request, shape, stepper, threads, isa);
  while (!loop.finished()) run_team(threads, [&loop](Team& team) { loop.run(team); });
  std::copy_n(loop.x(), request.n * shape.elements(), out);
  return loop.rows_done();
}

std::size_t loop_bytes(const TableView& table, const LoopShape& shape, std::size_t n, bool guided) {
  return LoopMemory::bytes(table, n, shape.elements(), guided);
}

}  // namespace fd
