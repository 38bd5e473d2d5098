#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>

#include "core/cpu_count.h"
#include "core/error.h"
#include "core/workers.h"

namespace fd {
namespace {

// One parallel_for call.
class Loop final : public Work {
 public:
  Loop(void (*call)(void*, std::size_t), void* context, std::size_t chunks)
      : call_(call), context_(context), chunks_(chunks) {}

  void help(int) override { work(); }

  void work() {
    const InsideWork mark;
    for (;;) {
      const std::size_t chunk = next_.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks_) break;
      try {
        call_(context_, chunk);
      } catch (...) {
        if (!failed_.exchange(true)) error_ = std::current_exception();
        next_.store(chunks_, std::memory_order_relaxed);
      }
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void (*const call_)(void*, std::size_t);
  void* const context_;
  const std::size_t chunks_;
  std::atomic<std::size_t> next_{0};  // the first chunk not yet handed out
  std::atomic<bool> failed_{false};   // claimed by the first body that throws
  std::exception_ptr error_{};        // written by that one; read when nobody runs
};

}  // namespace

void run_chunks(std::size_t chunks, int threads, void (*call)(void*, std::size_t), void* context) {
  if (threads < 0 || threads > kMaxThreads) {
    fail_argument("threads", "0 (the default) to " + std::to_string(kMaxThreads),
                  std::to_string(threads));
  }
  if (chunks <= 1 || inside_work()) {  // a lone chunk may still use threads inside
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) call(context, chunk);
    return;
  }
  if (threads == 0) threads = default_thread_count();
  const std::size_t useful = std::min(chunks, static_cast<std::size_t>(threads));
  Loop loop(call, context, chunks);
  if (useful == 1) {
    loop.work();
  } else {
    Workers& workers = Workers::shared();
    workers.post(loop, static_cast<int>(useful) - 1);
    loop.work();
    workers.close(loop);
    workers.wait(loop);
  }
  loop.rethrow();
}

}  // namespace fd
