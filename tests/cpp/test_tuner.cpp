// Choosing by measurement: the fastest wins where it is clearly faster, and is found again on disk.

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "check.h"
#include "plan/tuner.h"

namespace {

std::string folder() {
  char name[] = "/tmp/fastdiff_tuner_XXXXXX";
  return mkdtemp(name);
}

}  // namespace

TEST(the_heuristics_choice_is_left_only_for_a_clearly_faster_one) {
  fd::Tuner tuner("", 10);
  const std::vector<std::string> names{"a", "b", "c"};
  const double near[] = {1.0, 0.98, 1.2}, far[] = {1.0, 0.9, 0.8};
  CHECK_EQUAL(tuner.choose("near", names, [&](std::size_t i) { return near[i]; }), 0u);
  CHECK_EQUAL(tuner.choose("far", names, [&](std::size_t i) { return far[i]; }), 2u);
}

TEST(a_turn_that_was_disturbed_does_not_count) {
  fd::Tuner tuner("", 10);
  int calls[2] = {0, 0};
  const auto seconds = [&](std::size_t i) {
    return (++calls[i] == 1 ? 1.0 : 0.0) * (i == 1 ? 0.2 : 0.0) + (i == 0 ? 1.0 : 0.7);
  };
  CHECK_EQUAL(tuner.choose("k", {"a", "b"}, seconds), 1u);
}

TEST(what_was_found_is_kept_and_a_damaged_file_is_begun_anew) {
  const std::string where = folder();
  {
    fd::Tuner tuner(where, 10);
    CHECK_EQUAL(tuner.choose("k", {"a", "b"}, [](std::size_t i) { return i == 0 ? 2.0 : 1.0; }),
                1u);
    CHECK_EQUAL(tuner.measured(), 1u);
  }
  const auto never = [](std::size_t) {
    check::report(__FILE__, __LINE__, "measured again");
    return 1.0;
  };
  {
    fd::Tuner tuner(where, 10);
    CHECK_EQUAL(tuner.choose("k", {"a", "b"}, never), 1u);
  }
  std::ofstream(where + "/tuning") << "of another machine\nk\tb\n";
  fd::Tuner tuner(where, 10);
  CHECK_EQUAL(tuner.choose("k", {"a", "b"}, [](std::size_t) { return 1.0; }), 0u);
}

TEST(a_spent_budget_takes_the_first_unmeasured) {
  fd::Tuner tuner("", -1);
  CHECK_EQUAL(tuner.choose("k", {"a", "b"}, [](std::size_t) { return 1.0; }), 0u);
  CHECK_EQUAL(tuner.measured(), 0u);
}

TEST_MAIN
