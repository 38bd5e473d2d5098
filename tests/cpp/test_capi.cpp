// The C API: results, the error text of each wrong input, and one error per thread.

#include <cstdlib>
#include <thread>

#include "check.h"
#include "fastdiff/fastdiff.h"

TEST(names_the_instruction_set_in_use) {
  const char* name = fd_isa_name();
  CHECK(name != nullptr);
  const char* cap = std::getenv("FASTDIFF_MAX_ISA");
  if (cap != nullptr && std::strcmp(cap, "scalar") == 0) CHECK_EQUAL(std::string(name), cap);
  CHECK(check::contains(fd_version(), "."));
}

TEST(the_three_fills) {
  const uint64_t seeds[2] = {0, 1};
  uint32_t words[10];
  float u[10], z[10];
  CHECK_EQUAL(fd_words(seeds, 2, 0, 0, 5, words, 1), FD_OK);
  CHECK_EQUAL(words[0], 0x6627e8d5u);  // counter 0, key 0
  CHECK_EQUAL(fd_uniform(seeds, 2, 0, 0, 5, u, 2), FD_OK);
  CHECK_EQUAL(u[0], (static_cast<float>(words[0]) + 0.5f) * 0x1p-32f);
  CHECK_EQUAL(fd_normal(seeds, 2, 0, 0, 5, z, 0), FD_OK);
  for (float value : z) CHECK(value > -7 && value < 7);
}

TEST(empty_requests_take_null) {
  CHECK_EQUAL(fd_normal(nullptr, 0, 0, 0, 5, nullptr, 0), FD_OK);
  CHECK_EQUAL(fd_words(nullptr, 5, 0, 0, 0, nullptr, 0), FD_OK);
}

TEST(wrong_inputs_are_named) {
  const uint64_t seed = 1;
  float out[4];
  CHECK_EQUAL(fd_normal(nullptr, 1, 0, 0, 4, out, 0), FD_INVALID_ARGUMENT);
  CHECK_EQUAL(std::string(fd_last_error()), "seeds: expected a pointer to n values, got null");
  CHECK_EQUAL(fd_normal(&seed, 1, 0, 0, 4, nullptr, 0), FD_INVALID_ARGUMENT);
  CHECK_EQUAL(std::string(fd_last_error()),
              "out: expected a pointer to n * count values, got null");
  CHECK_EQUAL(fd_uniform(&seed, 1, 0, 0, 4, out, -1), FD_INVALID_ARGUMENT);
  CHECK(check::contains(fd_last_error(), "threads: expected 0"));
  CHECK_EQUAL(fd_uniform(&seed, SIZE_MAX / 2, 0, 0, 4, out, 1), FD_INVALID_ARGUMENT);
  CHECK(check::contains(fd_last_error(), "count: expected"));
  CHECK_EQUAL(fd_words(&seed, 1, 0, 0, SIZE_MAX, nullptr, 1), FD_INVALID_ARGUMENT);
  CHECK(check::contains(fd_last_error(), "2^34"));
}

TEST(each_thread_has_its_own_error) {
  CHECK_EQUAL(fd_normal(nullptr, 1, 0, 0, 4, nullptr, 0), FD_INVALID_ARGUMENT);
  std::string seen = "unset";
  std::thread([&] { seen = fd_last_error(); }).join();
  CHECK_EQUAL(seen, "");
  CHECK(!std::string(fd_last_error()).empty());
}

TEST_MAIN
