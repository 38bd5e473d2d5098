#include "core/workers.h"

#include <pthread.h>

#include <algorithm>
#include <system_error>
#include <thread>

#include "core/cpu_count.h"
#include "core/pause.h"

namespace fd {
namespace {

thread_local bool inside = false;

std::atomic<Workers*> shared_workers{nullptr};

// The child of a fork() drops its parent's workers: the memory was copied, the threads were not.
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { shared_workers = nullptr; });

// Rounds that wait() spins before it sleeps, some 20 us: helpers mostly leave together.
constexpr int kSpins = 1000;

}  // namespace

bool inside_work() { return inside; }
InsideWork::InsideWork() : outer_(inside) { inside = true; }
InsideWork::~InsideWork() { inside = outer_; }

// Made without a lock, so that a fork() in another thread can never leave the lock held in the
// child. Never freed: its threads use it for as long as the process lives.
Workers& Workers::shared() {
  Workers* current = shared_workers.load();
  if (current == nullptr) {
    Workers* made = new Workers;
    if (shared_workers.compare_exchange_strong(current, made)) return *made;
    delete made;  // another thread was first, and `current` is now its answer
  }
  return *current;
}

Workers::Expected Workers::post(Work& work, int wanted) {
  Expected expected;
  int may_come = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const int before = workers_;
    start(wanted);
    may_come = work.wanted_ = std::min(wanted, workers_);
    if (may_come > 0) posted_.push_back(&work);
    expected.helpers = std::min(may_come, workers_ - busy_);
    expected.started = workers_ > before;
  }
  for (int helper = 0; helper < may_come; ++helper) wake_.notify_one();
  return expected;
}

// Enough for this call alone, and for calls at the same time up to the CPUs there are.
void Workers::start(int wanted) {
  const int most = std::max(wanted, default_thread_count() - 1);
  while (workers_ < most && workers_ - busy_ < wanted) {
    try {
      std::thread([this] { serve(); }).detach();
    } catch (const std::system_error&) {
      return;  // the system's limit: run with the threads there are
    }
    ++workers_;
  }
}

void Workers::serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return !posted_.empty(); });
    Work* work = posted_.front();
    const int helper = work->joined_.fetch_add(1) + 1;
    work->inside_.fetch_add(1);
    if (--work->wanted_ == 0) posted_.erase(posted_.begin());
    ++busy_;
    lock.unlock();
    work->help(helper);
    lock.lock();
    --busy_;
    // Whoever comes back has found nothing left to do: keep others from joining for nothing.
    posted_.erase(std::remove(posted_.begin(), posted_.end(), work), posted_.end());
    // The last touch of *work: its caller may be gone the moment this is 0.
    if (work->inside_.fetch_sub(1, std::memory_order_release) == 1) left_.notify_all();
  }
}

int Workers::close(Work& work) {
  std::lock_guard<std::mutex> lock(mutex_);
  posted_.erase(std::remove(posted_.begin(), posted_.end(), &work), posted_.end());
  return work.joined();
}

void Workers::wait(const Work& work) {
  for (int i = 0; i < kSpins; ++i) {
    if (work.inside_.load(std::memory_order_acquire) == 0) return;
    pause();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  left_.wait(lock, [&] { return work.inside_.load(std::memory_order_acquire) == 0; });
}

}  // namespace fd
