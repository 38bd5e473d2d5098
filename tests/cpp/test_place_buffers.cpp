// The memory plan: what lives at the same time never overlaps, and nothing is wasted that a chain
// of layers could share.

#include <vector>

#include "check.h"
#include "core/philox.h"
#include "plan/place_buffers.h"

namespace {

bool overlap(const fd::Buffer& a, const fd::Buffer& b) {
  const bool alive = a.first <= b.last && b.first <= a.last;
  return alive && a.offset < b.offset + b.floats && b.offset < a.offset + a.floats;
}

}  // namespace

TEST(buffers_alive_together_do_not_overlap) {
  for (std::uint32_t trial = 0; trial < 200; ++trial) {
    std::vector<fd::Buffer> buffers;
    std::ptrdiff_t sum = 0;
    for (std::uint32_t i = 0; i < 40; ++i) {
      const fd::PhiloxBlock block = fd::noise_block(trial, 0, 0, i);
      fd::Buffer buffer;
      buffer.floats = 16 * (1 + static_cast<std::ptrdiff_t>(block.word[0] % 50));
      buffer.first = static_cast<int>(block.word[1] % 60);
      buffer.last = buffer.first + static_cast<int>(block.word[2] % 10);
      sum += buffer.floats;
      buffers.push_back(buffer);
    }
    const std::ptrdiff_t whole = fd::place_buffers(buffers);
    CHECK(whole <= sum);
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      CHECK(buffers[i].offset >= 0 && buffers[i].offset + buffers[i].floats <= whole);
      for (std::size_t k = 0; k < i; ++k) CHECK(!overlap(buffers[i], buffers[k]));
    }
  }
}

TEST(a_chain_of_layers_takes_two_buffers) {
  std::vector<fd::Buffer> buffers;
  for (int i = 0; i < 10; ++i) buffers.push_back({64, 0, i, i + 1});
  CHECK_EQUAL(fd::place_buffers(buffers), 128);
  std::vector<fd::Buffer> none;
  CHECK_EQUAL(fd::place_buffers(none), 0);
}

TEST_MAIN
