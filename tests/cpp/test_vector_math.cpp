// The SIMD Box-Muller on given words against float64 math on the same float32 uniforms: words at
// the edges of everything, a dense sweep of the word's range, and 8 Mi normals as Philox makes
// them. Prints the largest error, which must stay below what cpu/simd/noise_body.h states.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "check.h"
#include "core/philox.h"
#include "cpu/dispatch.h"
#include "cpu/noise.h"

namespace {

constexpr double kStated = 1e-6;  // the contract is 2e-6

// The largest error of the normals of these words (4 per block).
double worst_error(const fd::NoiseKernels& kernels, const std::vector<std::uint32_t>& words) {
  std::vector<float> z(words.size());
  kernels.normals_of_words(words.data(), words.size() / 4, z.data());
  double worst = 0;
  for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
    const double r = std::sqrt(-2 * std::log(double{fd::uniform_of_word(words[i])}));
    const double angle = 2 * 3.14159265358979323846 * double{fd::uniform_of_word(words[i + 1])};
    const double error =
        std::max(std::abs(z[i] - r * std::cos(angle)), std::abs(z[i + 1] - r * std::sin(angle)));
    worst = std::isfinite(error) ? std::max(worst, error) : HUGE_VAL;
  }
  return worst;
}

std::vector<std::uint32_t> edge_words() {
  std::vector<std::uint32_t> words;
  for (std::uint32_t centre : {0u, 1u << 16, 1u << 22, 1u << 23, 1u << 24, 1u << 29, 0x20000000u,
                               0x40000000u, 0x55555555u, 0x60000000u, 0x80000000u, 0xa0000000u,
                               0xaaaaaaaau, 0xc0000000u, 0xe0000000u, 0xffffff00u}) {
    for (std::uint32_t offset : {0u, 1u, 2u, 3u, 63u, 64u, 65u, 127u, 128u, 129u, 192u, 255u}) {
      words.push_back(centre + offset);
      words.push_back(centre - offset);  // wraps to 2^32 - offset at 0
    }
  }
  return words;
}

}  // namespace

TEST(edge_words_in_every_pairing) {
  const auto edges = edge_words();
  std::vector<std::uint32_t> words;
  for (std::uint32_t a : edges) {
    for (std::uint32_t b : edges) words.insert(words.end(), {a, b});
  }
  words.resize(words.size() / 4 * 4);
  for (fd::Isa isa : fd::available_isas()) {
    const double worst = worst_error(fd::noise_kernels(isa), words);
    std::printf("%s: %.3g\n", fd::isa_name(isa), worst);
    CHECK(worst <= kStated);
  }
}

TEST(u_of_one_gives_zero_and_nothing_is_nan) {
  for (fd::Isa isa : fd::available_isas()) {
    const std::uint32_t words[4] = {0xffffffffu, 0x12345678u, 0u, 0u};  // r = 0; the largest r
    float z[4];
    fd::noise_kernels(isa).normals_of_words(words, 1, z);
    CHECK_EQUAL(fd::uniform_of_word(words[0]), 1.0f);
    CHECK(z[0] == 0 && z[1] == 0);
    CHECK(std::abs(z[2] - 6.76377f) < 1e-4f);
  }
}

TEST(dense_sweep) {
  for (fd::Isa isa : fd::available_isas()) {
    double worst = 0;
    std::vector<std::uint32_t> words(1 << 16);
    for (std::uint32_t part = 0; part < 64; ++part) {  // 4 Mi words, all over the range
      for (std::uint32_t i = 0; i < words.size(); i += 2) {
        const std::uint32_t at = part * 65536 + i;
        words[i] = at * 1024 + 511;  // along u0, evenly: dense near 1, where ln is small
        // Words with few leading bits: u near 0. And an angle from all over.
        if (part % 2 == 1) words[i] >>= at % 32;
        words[i + 1] = at * 2654435761u;
      }
      worst = std::max(worst, worst_error(fd::noise_kernels(isa), words));
    }
    std::printf("%s: %.3g\n", fd::isa_name(isa), worst);
    CHECK(worst <= kStated);
  }
}

TEST(normals_of_philox) {
  for (fd::Isa isa : fd::available_isas()) {
    const fd::NoiseKernels& kernels = fd::noise_kernels(isa);
    double worst = 0, sum = 0, squares = 0;
    constexpr std::size_t count = 1 << 16, rows = 128;
    std::vector<std::uint32_t> words(count);
    std::vector<float> z(count);
    for (std::uint64_t seed = 0; seed < rows; ++seed) {
      fd::NoiseRequest request;
      request.seeds = &seed;
      request.n = 1;
      request.count = count;
      fd::noise_words(request, words.data(), 1, &kernels);
      worst = std::max(worst, worst_error(kernels, words));
      fd::noise_normal(request, z.data(), 1, &kernels);
      for (float value : z) {
        sum += value;
        squares += double{value} * value;
      }
    }
    constexpr double total = double{count} * rows;
    std::printf("%s: %.3g over %.0f normals\n", fd::isa_name(isa), worst, total);
    CHECK(worst <= kStated);
    CHECK(std::abs(sum / total) < 5 / std::sqrt(total));
    CHECK(std::abs(squares / total - 1) < 5 * std::sqrt(2 / total));
  }
}

TEST_MAIN
