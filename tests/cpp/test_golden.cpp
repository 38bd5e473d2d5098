// The checked-in vectors: Random123's for Philox itself, and those of the NumPy reference for the
// whole chain from seed to normal.

#include <cmath>
#include <cstdint>
#include <fstream>

#include "check.h"
#include "core/philox.h"
#include "cpu/dispatch.h"
#include "cpu/noise.h"

namespace {

constexpr const char* kGolden = FASTDIFF_GOLDEN_DIR;

// Lines of whitespace-separated fields; '#' starts a comment.
std::vector<std::vector<std::string>> read_table(const std::string& name, std::size_t columns) {
  std::ifstream file(std::string(kGolden) + "/" + name);
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line.substr(0, line.find('#')));
    std::vector<std::string> row;
    for (std::string field; fields >> field;) row.push_back(field);
    if (row.empty()) continue;
    CHECK_EQUAL(row.size(), columns);
    if (row.size() == columns) rows.push_back(row);
  }
  CHECK(!rows.empty());
  return rows;
}

std::uint64_t hex(const std::string& text) { return std::stoull(text, nullptr, 16); }
std::uint32_t hex32(const std::string& text) { return static_cast<std::uint32_t>(hex(text)); }
std::uint32_t decimal32(const std::string& text) {
  return static_cast<std::uint32_t>(std::stoull(text));
}

template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

}  // namespace

TEST(published_philox_vectors) {
  for (const auto& row : read_table("philox4x32_10.txt", 10)) {
    const fd::PhiloxBlock got =
        fd::philox4x32_10({{hex32(row[0]), hex32(row[1]), hex32(row[2]), hex32(row[3])}},
                          hex32(row[4]), hex32(row[5]));
    for (std::size_t i = 0; i < 4; ++i) CHECK_EQUAL(got.word[i], hex32(row[6 + i]));
  }
}

// The same three vectors, written here: they hold even where a golden file is damaged.
TEST(philox_of_zeros_ones_and_pi) {
  const fd::PhiloxBlock zeros = fd::philox4x32_10({{0, 0, 0, 0}}, 0, 0);
  CHECK_EQUAL(zeros.word[0], 0x6627e8d5u);
  CHECK_EQUAL(zeros.word[3], 0x9b00dbd8u);
  const fd::PhiloxBlock ones = fd::philox4x32_10({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u);
  CHECK_EQUAL(ones.word[0], 0x408f276du);
  CHECK_EQUAL(ones.word[3], 0x6d5451fdu);
  const fd::PhiloxBlock pi =
      fd::philox4x32_10({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0);
  CHECK_EQUAL(pi.word[0], 0xd16cfe09u);
  CHECK_EQUAL(pi.word[3], 0x24126ea1u);
}

TEST(noise_vectors_on_every_isa) {
  const auto rows = read_table("noise.txt", 7);
  for (fd::Isa isa : fd::available_isas()) {
    const fd::NoiseKernels& kernels = fd::noise_kernels(isa);
    for (const auto& row : rows) {
      const std::uint64_t seed = hex(row[0]), element = std::stoull(row[3]);
      const std::size_t within = element % 4;
      fd::NoiseRequest request;
      request.seeds = &seed;
      request.n = 1;
      request.step = decimal32(row[1]);
      request.stream = decimal32(row[2]);
      request.first_element = element - within;
      request.count = within + 1;
      std::uint32_t word[4];
      float u[4], z[4];
      fd::noise_words(request, word, 1, &kernels);
      fd::noise_uniform(request, u, 1, &kernels);
      fd::noise_normal(request, z, 1, &kernels);
      CHECK_EQUAL(word[within], hex32(row[4]));
      CHECK_EQUAL(bit_cast<std::uint32_t>(u[within]), hex32(row[5]));
      CHECK(std::abs(z[within] - std::stod(row[6])) <= 2e-6);
    }
  }
}

TEST_MAIN
