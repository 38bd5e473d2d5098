#include "core/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/cpu_count.h"
#include "core/error.h"

namespace fd {
namespace {

// True on a thread that is running a chunk: a loop begun there runs inline, since waiting for
// workers that may all be waiting in the same way would never end.
thread_local bool inside_chunk = false;

// One parallel_for call. It lives on the caller's stack: the caller leaves only after taking it off
// the pool's list and seeing `helpers` fall to 0, both under the pool's mutex.
struct Job {
  void (*call)(void*, std::size_t);
  void* context;
  std::size_t chunks;
  int helpers_wanted;                // guarded by the pool's mutex
  int helpers = 0;                   // guarded by the pool's mutex
  std::atomic<std::size_t> next{0};  // the first chunk not yet handed out
  std::atomic<bool> failed{false};   // claimed by the first body that throws
  std::exception_ptr error{};        // written by that one; read when nobody runs

  void work() {
    const bool outer = inside_chunk;
    inside_chunk = true;
    for (;;) {
      const std::size_t chunk = next.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks) break;
      try {
        call(context, chunk);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
        next.store(chunks, std::memory_order_relaxed);
      }
    }
    inside_chunk = outer;
  }
};

class ThreadPool {
 public:
  void run(Job& job) {
    int helpers = 0;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      add_workers(job.helpers_wanted);
      helpers = job.helpers_wanted = std::min(job.helpers_wanted, workers_);
      if (helpers > 0) jobs_.push_back(&job);
    }
    for (int helper = 0; helper < helpers; ++helper) wake_.notify_one();
    job.work();
    std::unique_lock<std::mutex> lock(mutex_);
    jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), &job), jobs_.end());
    done_.wait(lock, [&] { return job.helpers == 0; });
  }

 private:
  // Workers are detached and never end: joining threads while static objects are torn down, or in
  // a forked child that does not have them, is the classic way to hang at exit.
  void add_workers(int wanted) {
    for (; workers_ < wanted; ++workers_) {
      try {
        std::thread([this] { serve(); }).detach();
      } catch (const std::system_error&) {
        return;  // the system's limit: run with the threads there are
      }
    }
  }

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return !jobs_.empty(); });
      Job* job = jobs_.front();
      ++job->helpers;
      if (--job->helpers_wanted == 0) jobs_.erase(jobs_.begin());
      lock.unlock();
      job->work();
      lock.lock();
      // Out of chunks: keep other workers from joining for nothing.
      jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), job), jobs_.end());
      if (--job->helpers == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<Job*> jobs_;  // those that still want helpers, oldest first
  int workers_ = 0;
};

std::atomic<ThreadPool*> shared_pool{nullptr};

// The child of a fork() drops its parent's pool: the memory was copied, the threads were not.
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { shared_pool = nullptr; });

// Made without a lock, so that a fork() in another thread can never leave the lock held in the
// child. Never freed: its workers use it for as long as the process lives.
ThreadPool& pool() {
  ThreadPool* current = shared_pool.load();
  if (current == nullptr) {
    ThreadPool* made = new ThreadPool;
    if (shared_pool.compare_exchange_strong(current, made)) return *made;
    delete made;  // another thread was first, and `current` is now its pool
  }
  return *current;
}

}  // namespace

void run_chunks(std::size_t chunks, int threads, void (*call)(void*, std::size_t), void* context) {
  if (threads < 0 || threads > kMaxThreads) {
    fail_argument("threads", "0 (the default) to " + std::to_string(kMaxThreads),
                  std::to_string(threads));
  }
  if (chunks <= 1 || inside_chunk) {  // a lone chunk may still use threads inside
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) call(context, chunk);
    return;
  }
  if (threads == 0) threads = default_thread_count();
  const std::size_t useful = std::min(chunks, static_cast<std::size_t>(threads));
  Job job{call, context, chunks, static_cast<int>(useful) - 1};
  if (job.helpers_wanted == 0) {
    job.work();
  } else {
    pool().run(job);
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace fd
