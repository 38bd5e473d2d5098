// Every instruction set against the scalar reference, over sizes around the vector widths, and the
// promise that a sample depends on its own seed and step alone.

#include <cmath>
#include <cstdint>

#include "check.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/noise.h"

namespace {

constexpr std::size_t kCounts[] = {1,  2,  3,  4,  5,  7,   8,   15,  16,  17,
                                   31, 33, 63, 64, 65, 127, 128, 129, 1000};

struct Batch {
  std::vector<std::uint64_t> seeds;
  std::vector<std::uint32_t> steps;
  fd::NoiseRequest request;

  Batch(std::size_t n, std::size_t count, bool step_per_sample, std::uint64_t first_element = 0) {
    for (std::size_t i = 0; i < n; ++i) {
      seeds.push_back(0x9e3779b97f4a7c15u * (i + 1));  // both halves of the key in use
      steps.push_back(static_cast<std::uint32_t>(7 * i));
    }
    request.seeds = seeds.data();
    request.n = n;
    request.steps = step_per_sample ? steps.data() : nullptr;
    request.step = 499;
    request.stream = 3;
    request.first_element = first_element;
    request.count = count;
  }
  Batch(const Batch&) = delete;
  std::size_t size() const { return request.n * request.count; }
};

constexpr float kGuard = 777.0f;  // stands after the output, and must stay there

template <class T>
std::vector<T> fill(void (*noise)(const fd::NoiseRequest&, T*, int, const fd::NoiseKernels*),
                    const Batch& batch, int threads, const fd::NoiseKernels* kernels = nullptr) {
  std::vector<T> out(batch.size() + 64, static_cast<T>(kGuard));
  noise(batch.request, out.data(), threads, kernels);
  for (std::size_t i = batch.size(); i < out.size(); ++i) CHECK(out[i] == static_cast<T>(kGuard));
  out.resize(batch.size());
  return out;
}

void compare_with_reference(const Batch& batch, fd::Isa isa) {
  const fd::NoiseKernels* reference = &fd::kNoiseScalar;
  const fd::NoiseKernels* kernels = &fd::noise_kernels(isa);
  CHECK(fill(fd::noise_words, batch, 1, kernels) == fill(fd::noise_words, batch, 1, reference));
  CHECK(fill(fd::noise_uniform, batch, 1, kernels) == fill(fd::noise_uniform, batch, 1, reference));
  const auto z = fill(fd::noise_normal, batch, 1, kernels);
  const auto expected = fill(fd::noise_normal, batch, 1, reference);
  for (std::size_t i = 0; i < z.size(); ++i) CHECK(std::abs(z[i] - expected[i]) <= 2e-6f);
}

}  // namespace

TEST(every_isa_equals_the_reference) {
  for (fd::Isa isa : fd::available_isas()) {
    for (std::size_t count : kCounts) {
      for (std::size_t n : {1u, 2u, 3u, 5u}) {
        compare_with_reference(Batch(n, count, false), isa);
        compare_with_reference(Batch(n, count, true), isa);
      }
      for (std::uint64_t first : {4u, 60u, 64u, 100u}) {
        compare_with_reference(Batch(3, count, true, first), isa);
      }
    }
    compare_with_reference(Batch(2, 40000, true), isa);  // rows in pieces
    // The last elements there are: the block index ends at 2^32 - 1.
    compare_with_reference(Batch(1, 100, false, (std::uint64_t{1} << 34) - 100), isa);
  }
}

TEST(simd_isas_agree_bit_for_bit) {
  const auto isas = fd::available_isas();
  if (isas.back() < fd::Isa::avx512) return;  // needs two of them
  const Batch batch(3, 50001, true);
  CHECK(fill(fd::noise_normal, batch, 1, &fd::noise_kernels(fd::Isa::avx2)) ==
        fill(fd::noise_normal, batch, 1, &fd::noise_kernels(fd::Isa::avx512)));
}

TEST(thread_count_does_not_matter) {
  for (fd::Isa isa : fd::available_isas()) {
    const fd::NoiseKernels* kernels = &fd::noise_kernels(isa);
    for (std::size_t n : {1u, 3u, 200u}) {
      const Batch batch(n, n == 200 ? 777u : 100003u, true);
      const auto words = fill(fd::noise_words, batch, 1, kernels);
      const auto normals = fill(fd::noise_normal, batch, 1, kernels);
      for (int threads : {2, 3, 8}) {
        CHECK(fill(fd::noise_words, batch, threads, kernels) == words);
        CHECK(fill(fd::noise_normal, batch, threads, kernels) == normals);
      }
    }
  }
}

TEST(a_sample_does_not_depend_on_its_batch_or_its_cut) {
  const Batch batch(5, 1000, true);
  const auto all = fill(fd::noise_normal, batch, 1);
  Batch one(5, 996, true, 4);
  one.request.seeds += 3;
  one.request.steps += 3;
  one.request.n = 1;
  const auto part = fill(fd::noise_normal, one, 1);
  for (std::size_t i = 0; i < part.size(); ++i) CHECK_EQUAL(part[i], all[3 * 1000 + 4 + i]);
}

TEST(empty_requests_write_nothing) {
  fd::NoiseRequest request;
  fd::noise_normal(request, nullptr);
  request.n = 5;
  fd::noise_words(request, nullptr);
  request.n = 0;
  request.count = 5;
  fd::noise_uniform(request, nullptr);
}

TEST(wrong_requests_are_named) {
  Batch batch(2, 10, false);
  float out[20];
  batch.request.first_element = 6;
  CHECK_THROWS(fd::InvalidArgument, "first_element: expected a multiple of 4, got 6",
               fd::noise_normal(batch.request, out));
  batch.request.first_element = (std::uint64_t{1} << 34) - 8;
  CHECK_THROWS(fd::InvalidArgument, "2^34", fd::noise_normal(batch.request, out));
  batch.request.first_element = 0;
  CHECK_THROWS(fd::InvalidArgument, "out: expected a pointer",
               fd::noise_normal(batch.request, nullptr));
  CHECK_THROWS(fd::InvalidArgument, "threads: expected", fd::noise_normal(batch.request, out, -1));
  batch.request.seeds = nullptr;
  CHECK_THROWS(fd::InvalidArgument, "seeds: expected a pointer",
               fd::noise_normal(batch.request, out));
  batch.request.n = SIZE_MAX / 16;
  CHECK_THROWS(fd::InvalidArgument, "fit in memory", fd::noise_normal(batch.request, out));
}

TEST_MAIN
