// parallel_for: every chunk once, errors, nesting, several callers, fork.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "core/error.h"
#include "core/thread_pool.h"

namespace {

// True where every chunk ran exactly once.
bool runs_each_once(std::size_t chunks, int threads) {
  std::unique_ptr<std::atomic<int>[]> seen(new std::atomic<int>[chunks + 1]());
  fd::parallel_for(chunks, threads, [&](std::size_t chunk) { ++seen[chunk]; });
  for (std::size_t i = 0; i < chunks; ++i) {
    if (seen[i] != 1) return false;
  }
  return true;
}

}  // namespace

TEST(each_chunk_runs_once) {
  for (int threads : {0, 1, 2, 3, 8}) {
    for (std::size_t chunks : {0u, 1u, 2u, 3u, 7u, 8u, 9u, 1000u}) {
      CHECK(runs_each_once(chunks, threads));
    }
  }
}

TEST(many_short_loops) {
  for (int i = 0; i < 2000; ++i) CHECK(runs_each_once(static_cast<std::size_t>(i % 5), 4));
}

TEST(two_threads_do_meet) {
  // Two chunks that wait for each other end only where two threads run them.
  std::atomic<int> here{0};
  fd::parallel_for(2, 2, [&](std::size_t) {
    ++here;
    while (here < 2) std::this_thread::yield();
  });
  CHECK_EQUAL(here.load(), 2);
}

TEST(nested_loops_run_inline) {
  std::atomic<int> inner{0}, elsewhere{0};
  fd::parallel_for(8, 4, [&](std::size_t) {
    const auto outer = std::this_thread::get_id();
    fd::parallel_for(8, 4, [&](std::size_t) {
      ++inner;
      if (std::this_thread::get_id() != outer) ++elsewhere;
    });
  });
  CHECK_EQUAL(inner.load(), 64);
  CHECK_EQUAL(elsewhere.load(), 0);
}

TEST(the_first_exception_reaches_the_caller) {
  for (int threads : {1, 2, 8}) {
    CHECK_THROWS(std::runtime_error, "chunk 3", fd::parallel_for(100, threads, [](std::size_t i) {
                   if (i == 3) throw std::runtime_error("chunk 3");
                 }));
    CHECK(runs_each_once(100, threads));  // and the pool is as good as before
  }
}

TEST(callers_at_once) {
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&good, caller] {
      for (int i = 0; i < 200; ++i) {
        if (i % 50 == caller) {
          try {
            fd::parallel_for(9, 3, [](std::size_t) { throw std::runtime_error("expected"); });
          } catch (const std::runtime_error&) {
            ++good;
          }
        }
        good += runs_each_once(17, 1 + (caller + i) % 4) ? 1 : 0;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQUAL(good.load(), 4 * (200 + 4));
}

TEST(a_forked_child_makes_its_own_pool) {
  CHECK(runs_each_once(100, 4));
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // a hang must not outlive the test
    std::atomic<int> here{0};
    fd::parallel_for(2, 2, [&](std::size_t) {
      ++here;
      while (here < 2) std::this_thread::yield();
    });
    _exit(runs_each_once(1000, 4) && here == 2 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(runs_each_once(100, 4));  // the parent's goes on
}

TEST(wrong_thread_counts_are_named) {
  CHECK_THROWS(fd::InvalidArgument, "threads: expected 0 (the default) to 1024, got -2",
               fd::parallel_for(4, -2, [](std::size_t) {}));
  CHECK_THROWS(fd::InvalidArgument, "got 5000", fd::parallel_for(4, 5000, [](std::size_t) {}));
}

TEST_MAIN
