#include "core/team.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

#include "core/cpu_count.h"
#include "core/error.h"
#include "core/pause.h"
#include "core/workers.h"

namespace fd {
namespace {

// What a barrier throws in a team of which someone has left by an exception.
struct TeamBroken {};

// How long run_team waits for idle workers: waking one takes 5 to 60 us, starting one some 100.
constexpr auto kPatience = std::chrono::microseconds(100);
constexpr auto kPatienceStarting = std::chrono::microseconds(1000);

// A waiting member spins, then yields (some 50 us where nobody else wants the processor), then
// sleeps. How long it spins, 40 us at most, follows from how it went before: where members share a
// processor, whoever spins keeps from running the one that is waited for.
constexpr int kSpins = 2000, kFewSpins = 20;
constexpr int kYields = 200;

constexpr std::uint32_t kBroken = std::uint32_t{1} << 31;

int processors() {
  static const int count = [] {
    const int limit = cgroup_cpu_limit();
    const int cpus = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    return limit == 0 ? cpus : std::min(cpus, limit);
  }();
  return count;
}

std::atomic<int> members_running{0};  // of all teams of this process

}  // namespace

// One run_team call; on the caller's stack. A member waits for `phase_` to change: it is 0 until
// the team is closed, then counts barriers, and takes kBroken with the first exception.
class TeamRun final : public Work {
 public:
  TeamRun(void (*call)(void*, Team&), void* context) : call_(call), context_(context) {}

  void run(int threads) {
    Workers& workers = Workers::shared();
    const Workers::Expected expected = workers.post(*this, threads - 1);
    await_helpers(expected);
    size_ = workers.close(*this) + 1;
    if (members_running.fetch_add(size_) + size_ > processors()) spins_ = kFewSpins;
    advance();
    run_member(0);
    workers.wait(*this);
    members_running.fetch_sub(size_);
    if (error_) std::rethrow_exception(error_);
  }

  void help(int helper) override {
    await_change(0);
    run_member(helper);
  }

  void barrier() {
    // Nobody can move the phase on without this member, which has seen the last move.
    const std::uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (phase & kBroken) throw TeamBroken();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      arrived_.store(0, std::memory_order_relaxed);
      advance();
    } else if (await_change(phase) & kBroken) {
      throw TeamBroken();
    }
  }

 private:
  void await_helpers(const Workers::Expected& expected) const {
    if (expected.helpers == 0) return;
    const auto deadline =
        std::chrono::steady_clock::now() + (expected.started ? kPatienceStarting : kPatience);
    while (joined() < expected.helpers && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();  // a worker may have been woken on this very processor
    }
  }

  void run_member(int rank) {
    const InsideWork mark;
    Team team;
    team.rank_ = rank;
    team.size_ = size_;
    team.run_ = this;
    try {
      call_(context_, team);
    } catch (const TeamBroken&) {
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
      phase_.fetch_or(kBroken);
      wake();
    }
  }

  // The phase after `phase`. Neither 2^31 barriers nor a break at the same time can happen: the
  // last to arrive is here, and the others wait.
  void advance() {
    phase_.store((phase_.load(std::memory_order_relaxed) + 1) & ~kBroken);
    wake();
  }

  std::uint32_t await_change(std::uint32_t phase) {
    std::uint32_t now = phase;
    const auto changed = [&] { return (now = phase_.load(std::memory_order_acquire)) != phase; };
    const int spins = spins_.load(std::memory_order_relaxed);
    for (int i = 0; i < spins; ++i) {
      if (changed()) {
        if (spins < kSpins) spins_.store(std::min(kSpins, 2 * spins), std::memory_order_relaxed);
        return now;
      }
      pause();
    }
    if (spins > kFewSpins) spins_.store(std::max(kFewSpins, spins / 4), std::memory_order_relaxed);
    for (int i = 0; i < kYields; ++i) {
      if (changed()) return now;
      std::this_thread::yield();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    // Either this member sees the new phase below or wake() sees a sleeper: both are seq_cst.
    sleepers_.fetch_add(1);
    changed_.wait(lock, [&] { return (now = phase_.load()) != phase; });
    sleepers_.fetch_sub(1);
    return now;
  }

  void wake() {
    if (sleepers_.load() == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
  }

  void (*const call_)(void*, Team&);
  void* const context_;
  int size_ = 1;                    // written before the team starts
  std::atomic<int> spins_{kSpins};  // a guess; members change it without order
  std::atomic<bool> failed_{false};
  std::exception_ptr error_{};  // written by who claims failed_; read when nobody runs
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> sleepers_{0};
  // On lines of their own: those who wait read the one while others write the other.
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> phase_{0};
};

void Team::barrier() {
  if (size_ > 1) run_->barrier();
}

Team Team::alone() { return Team(); }

void run_team_call(int threads, void (*call)(void*, Team&), void* context) {
  if (threads < 0 || threads > kMaxThreads) {
    fail_argument("threads", "0 (the default) to " + std::to_string(kMaxThreads),
                  std::to_string(threads));
  }
  if (threads == 0) threads = default_thread_count();
  if (threads == 1 || inside_work()) {
    const InsideWork mark;
    Team team = Team::alone();
    call(context, team);
    return;
  }
  TeamRun run(call, context);
  run.run(threads);
}

}  // namespace fd
