// Requests of a kind that an engine has seen allocate nothing: neither by operator new nor pages.
// The C API is compiled into this program, so that both are counted in all of it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "check.h"
#include "core/pages.h"
#include "fastdiff/fastdiff.h"

static std::atomic<std::size_t> allocations{0};

// Not inline: GCC would see a free() of what a new made and warn.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  ++allocations;
  const auto line = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(line, (bytes + line - 1) / line * line)) return memory;
  throw std::bad_alloc();
}
// std::stable_sort's.
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

constexpr std::size_t kElements = 2 * 8 * 6, kMost = 300;

std::size_t allocated() { return allocations + fd::pieces_taken(); }

// An engine, and a request for n samples with everything that one can hold.
class Sampler {
 public:
  enum Feature : unsigned { guided = 1, one_for_all = 2, masked = 4, called_back = 8, all = 16 };

  explicit Sampler(int threads) : out_(kMost * kElements) {
    fd_engine_options options{};
    options.size = sizeof(options);
    options.threads = threads;
    options.no_autotune = 1;
    CHECK_EQUAL(fd_engine_load(FASTDIFF_GOLDEN_DIR "/tiny.fdiff", &options, &engine_), FD_OK);
    for (std::size_t i = 0; i < kMost * kElements; ++i) {
      values_.push_back(static_cast<float>(i % 7) / 7);
    }
  }
  Sampler(const Sampler&) = delete;
  ~Sampler() { fd_engine_free(engine_); }

  // What a request allocates.
  std::size_t sample(std::size_t n, unsigned features) {
    const std::size_t before = allocated();
    fd_request request{};
    request.size = sizeof(request);
    request.n = n;
    request.seed = 5;
    if (features & guided) {
      const std::size_t count = features & one_for_all ? 1 : n;
      request.context = request.guidance = request.guidance_rescale = values_.data() + 1;
      request.context_count = request.guidance_count = request.guidance_rescale_count = count;
    }
    if (features & masked) request.image = request.mask = values_.data();
    if (features & called_back) {
      request.after_row = [](void* user, std::size_t, std::size_t, const fd_row* row) {
        return fd_row_x0(row, static_cast<float*>(user)) == FD_OK ? 0 : 1;
      };
      request.user = x0_;
    }
    std::size_t rows = 0;
    CHECK_EQUAL(fd_sample(engine_, &request, out_.data(), &rows), FD_OK);
    CHECK_EQUAL(rows, 4u);
    return allocated() - before;
  }

 private:
  fd_engine* engine_ = nullptr;
  std::vector<float> values_, out_;
  float x0_[kMost * kElements];
};

}  // namespace

TEST(counts_are_of_both_kinds) {
  const std::size_t before = allocated();
  fd::free_pages(fd::allocate_pages(100));
  CHECK(allocated() > before);
  const std::size_t then = allocations;
  const std::vector<float> some(100);
  CHECK(allocations > then);
}

TEST(a_request_of_a_kind_seen_before_allocates_nothing) {
  for (int threads : {1, 2, 4}) {
    Sampler sampler(threads);
    // A first one of each size at which other algorithms may be chosen, and weights packed.
    CHECK(sampler.sample(kMost, Sampler::guided | Sampler::masked) > 0);
    for (std::size_t n : {1u, 2u, 3u, 4u, 8u, 16u, 32u}) sampler.sample(n, 0);
    for (unsigned features = 0; features < Sampler::all; ++features) {
      sampler.sample(kMost, features);
      for (std::size_t n : {300u, 270u, 40u, 33u, 17u, 9u, 5u, 4u, 3u, 2u, 1u, 300u}) {
        const std::size_t count = sampler.sample(n, features);
        if (count == 0) continue;
        check::report(__FILE__, __LINE__,
                      std::to_string(count) + " allocations for " + std::to_string(n) +
                          " samples, features " + std::to_string(features) + ", " +
                          std::to_string(threads) + " threads");
      }
    }
  }
}

TEST_MAIN
