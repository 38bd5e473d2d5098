// run_team: everyone meets at barriers, errors, nesting, several callers, fork; and what a barrier
// costs, printed.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/team.h"
#include "core/thread_pool.h"

namespace {

constexpr int kMost = 16;

// Each member writes its own plain int before a barrier and reads everyone's after it: wrong, and
// a race to ThreadSanitizer, wherever a barrier lets someone through too early.
struct Meeting {
  int written[kMost] = {};
  int sizes[kMost] = {};
  std::atomic<int> wrong{0}, members{0};

  void operator()(fd::Team& team) {
    ++members;
    sizes[team.rank()] = team.size();
    for (int round = 1; round <= 200; ++round) {
      written[team.rank()] = round;
      team.barrier();
      for (int other = 0; other < team.size(); ++other) wrong += written[other] != round;
      team.barrier();
    }
  }

  bool held(int threads) const {
    const int size = members;
    bool good = wrong == 0 && size >= 1 && size <= threads;
    for (int rank = 0; rank < size; ++rank) good = good && sizes[rank] == size;
    return good;
  }
};

bool meets(int threads) {
  Meeting meeting;
  fd::run_team(threads, meeting);
  return meeting.held(threads);
}

// The size of the largest team of many: a busy machine may well give some that are smaller.
int largest_team(int threads) {
  int largest = 0;
  for (int i = 0; i < 1000 && largest < threads; ++i) {
    fd::run_team(threads, [&](fd::Team& team) {
      if (team.rank() == 0) largest = std::max(largest, team.size());
    });
  }
  return largest;
}

}  // namespace

TEST(everyone_meets_at_every_barrier) {
  for (int threads : {1, 2, 3, 4, 8}) {
    for (int i = 0; i < 20; ++i) CHECK(meets(threads));
  }
}

TEST(teams_reach_the_size_asked_for) {
  for (int threads : {1, 2, 4}) CHECK_EQUAL(largest_team(threads), threads);
}

TEST(the_caller_has_rank_0) {
  const auto caller = std::this_thread::get_id();
  for (int i = 0; i < 100; ++i) {
    fd::run_team(2, [&](fd::Team& team) {
      CHECK_EQUAL(team.rank() == 0, std::this_thread::get_id() == caller);
    });
  }
}

TEST(members_that_come_late_are_waited_for) {
  // Long enough to see spinning, yielding and sleeping.
  for (int wait_us : {0, 30, 200, 3000}) {
    int sum = 0;
    fd::run_team(2, [&](fd::Team& team) {
      for (int round = 0; round < 20; ++round) {
        if (team.rank() == round % team.size()) {
          std::this_thread::sleep_for(std::chrono::microseconds(wait_us));
          ++sum;
        }
        team.barrier();
      }
    });
    CHECK_EQUAL(sum, 20);
  }
}

TEST(the_first_exception_reaches_the_caller_and_breaks_the_barriers) {
  for (int threads : {1, 2, 4}) {
    for (int thrower = 0; thrower < threads; ++thrower) {
      for (int i = 0; i < 20; ++i) {
        std::atomic<int> beyond{0};
        try {
          fd::run_team(threads, [&](fd::Team& team) {
            team.barrier();
            if (team.rank() == std::min(thrower, team.size() - 1)) {
              throw std::runtime_error("expected");
            }
            team.barrier();
            ++beyond;
          });
          CHECK(false);
        } catch (const std::runtime_error& error) {
          CHECK_EQUAL(std::string(error.what()), "expected");
        }
        CHECK_EQUAL(beyond.load(), 0);
      }
    }
    CHECK(meets(threads));
  }
}

TEST(all_may_throw_at_once) {
  for (int i = 0; i < 50; ++i) {
    CHECK_THROWS(std::runtime_error, "expected",
                 fd::run_team(4, [](fd::Team&) { throw std::runtime_error("expected"); }));
  }
}

TEST(a_sleeping_member_hears_of_an_exception) {
  CHECK_THROWS(std::runtime_error, "late", fd::run_team(2, [](fd::Team& team) {
                 if (team.rank() == 0) {
                   std::this_thread::sleep_for(std::chrono::milliseconds(20));
                   throw std::runtime_error("late");
                 }
                 team.barrier();
               }));
}

TEST(nested_teams_are_teams_of_one) {
  std::atomic<int> ones{0}, inner_chunks{0}, elsewhere{0}, members{0};
  fd::run_team(2, [&](fd::Team& team) {
    ++members;
    const auto me = std::this_thread::get_id();
    fd::run_team(2, [&](fd::Team& inner) {
      inner.barrier();
      ones += inner.size() == 1 && inner.rank() == 0 && std::this_thread::get_id() == me;
    });
    fd::parallel_for(8, 2, [&](std::size_t) {
      ++inner_chunks;
      elsewhere += std::this_thread::get_id() != me;
    });
    team.barrier();
  });
  CHECK_EQUAL(ones.load(), members.load());
  CHECK_EQUAL(inner_chunks.load(), 8 * members);
  CHECK_EQUAL(elsewhere.load(), 0);
  ones = 0;
  fd::parallel_for(4, 2, [&](std::size_t) {
    fd::run_team(2, [&](fd::Team& inner) { ones += inner.size() == 1; });
  });
  CHECK_EQUAL(ones.load(), 4);
}

TEST(a_team_of_one_needs_no_run) {
  fd::Team team = fd::Team::alone();
  team.barrier();
  CHECK_EQUAL(team.rank(), 0);
  CHECK_EQUAL(team.size(), 1);
}

TEST(callers_at_once) {
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 16; ++caller) {
    callers.emplace_back([&good, caller] {
      for (int i = 0; i < 10; ++i) {
        good += meets(1 + (caller + i) % 4);
        try {
          fd::run_team(3, [](fd::Team& team) {
            if (team.rank() + 1 == team.size()) throw std::runtime_error("expected");
            team.barrier();
          });
        } catch (const std::runtime_error&) {
          ++good;
        }
        std::atomic<int> chunks{0};
        fd::parallel_for(5, 3, [&](std::size_t) { ++chunks; });
        good += chunks == 5;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQUAL(good.load(), 16 * 10 * 3);
}

TEST(a_forked_child_makes_its_own_team) {
  CHECK(meets(4));
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // a hang must not outlive the test
    _exit(meets(4) && largest_team(2) == 2 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(meets(4));  // the parent's goes on
}

TEST(wrong_thread_counts_are_named) {
  CHECK_THROWS(fd::InvalidArgument, "threads: expected 0 (the default) to 1024, got -2",
               fd::run_team(-2, [](fd::Team&) {}));
}

TEST(what_it_costs) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRounds = 2000;
  double barrier_ns = HUGE_VAL, team_us = HUGE_VAL;
  int of_two = 0;
  for (int i = 0; i < 50; ++i) {
    const auto begin = Clock::now();
    Clock::duration inside{};
    int size = 1;
    fd::run_team(2, [&](fd::Team& team) {
      const auto start = Clock::now();
      for (int round = 0; round < kRounds; ++round) team.barrier();
      if (team.rank() == 0) {
        inside = Clock::now() - start;
        size = team.size();
      }
    });
    if (size != 2) continue;
    ++of_two;
    const auto outside = Clock::now() - begin - inside;
    barrier_ns = std::min(barrier_ns, std::chrono::duration<double, std::nano>(inside).count());
    team_us = std::min(team_us, std::chrono::duration<double, std::micro>(outside).count());
  }
  std::printf("%d of 50 teams of two; at best a barrier takes %.0f ns, a team %.1f us\n", of_two,
              barrier_ns / kRounds, team_us);
}

TEST_MAIN
