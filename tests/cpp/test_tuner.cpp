// Choosing by measurement: the fastest wins where it is clearly faster, and is found again on disk.

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/dispatch.h"
#include "plan/conv_step.h"
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

// How much at a time is measured for the winner alone, once, and found again by its name.
TEST(blocks_are_chosen_after_the_algorithm) {
  const std::string where = folder();
  const std::vector<float> weight(8 * 8 * 9, 0.1f);
  fd::ConvShape shape;
  shape.in_channels = shape.out_channels = 8;
  shape.kernel_y = shape.kernel_x = 3;
  shape.padding_y = shape.padding_x = 1;
  shape.height = shape.width = shape.out_height = shape.out_width = 32;
  fd::PlanOptions options;
  options.isa = fd::active_isa();
  const fd::Regime regime = fd::Regime::of(2, false);
  const auto chosen = [&](fd::Tuner* tuner) {
    fd::ConvStep step(shape, weight.data(), nullptr, {}, {}, {}, options);
    step.choose(regime, tuner);
    return step.choice(regime);
  };
  fd::ConvChoice first;
  {
    fd::Tuner tuner(where, 10);
    first = chosen(&tuner);
    CHECK_EQUAL(tuner.measured(), 2u);
    CHECK(chosen(&tuner).block == first.block);
    CHECK_EQUAL(tuner.measured(), 2u);
  }
  std::ifstream file(where + "/tuning");
  std::string line, key;
  while (std::getline(file, line)) {
    const std::size_t tab = line.find('\t'), blocks = line.find(" blocks of ");
    if (blocks == std::string::npos) continue;
    key = line.substr(0, tab);
    const std::string name = line.substr(tab + 1), algorithm = conv_algorithm_name(first.algorithm);
    CHECK_EQUAL(key.substr(blocks + 11), algorithm);
    const std::string block = first.block == 0 ? "" : ",block=" + std::to_string(first.block);
    CHECK_EQUAL(name, algorithm + block);
  }
  CHECK(!key.empty());
  // What the cache says is taken, and a spent budget takes the algorithm's own.
  for (const fd::ConvChoice& other : fd::block_choices(shape, first, 2, 1)) {
    fd::Tuner tuner(where, -1);
    const std::string block = other.block == 0 ? "" : ",block=" + std::to_string(other.block);
    tuner.remember(key, conv_algorithm_name(first.algorithm) + block);
    CHECK_EQUAL(chosen(&tuner).block, other.block);
    CHECK_EQUAL(tuner.measured(), 0u);
  }
  fd::Tuner spent("", -1);
  CHECK_EQUAL(chosen(&spent).block, 0);
  CHECK_EQUAL(spent.measured(), 0u);
}

TEST(a_steps_description_names_its_block) {
  const std::vector<float> weight(9, 0.1f);
  fd::ConvShape shape;
  shape.in_channels = shape.out_channels = 1;
  shape.kernel_y = shape.kernel_x = 3;
  shape.padding_y = shape.padding_x = 1;
  shape.height = shape.width = shape.out_height = shape.out_width = 8;
  shape.pool_y = shape.pool_x = 2;
  const fd::Regime regime = fd::Regime::of(1, false);
  fd::ConvStep step(shape, weight.data(), nullptr, {}, {}, {}, {});
  fd::ConvChoice choice;
  choice.block = 128;
  step.set(regime, choice);
  CHECK_EQUAL(step.describe(regime.index()), "conv 3x3 1>1 at 8x8, max pool 2x2, direct,block=128");
}

TEST_MAIN
