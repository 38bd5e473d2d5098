// Winograd convolutions against float64 loops, and the precision that they state.
//
// Bounds are relative to the output's rms, without bias or epilogue: they grow with the number of
// channels no faster than a plain sum's would.

#include <cmath>

#include "conv_cases.h"

using conv_cases::Case;
using conv_cases::Error;
using conv_cases::error_of;
using conv_cases::square;
using fd::ConvAlgorithm;
using fd::EpilogueStep;
using fd::Isa;
using fd::Precision;

namespace {

struct Kind {
  ConvAlgorithm algorithm;
  Precision precision;
  double rms, largest;  // of the output's rms
};

constexpr Kind kKinds[] = {
    {ConvAlgorithm::winograd2, Precision::float32, 5e-7, 5e-6},
    {ConvAlgorithm::winograd4, Precision::float32, 1e-6, 1e-5},
    {ConvAlgorithm::winograd2, Precision::bf16, 8e-3, 8e-2},
    {ConvAlgorithm::winograd4, Precision::bf16, 3e-2, 3e-1},
};

void check_case(const Case& c, bool shares = false) {
  const std::vector<double> expected = c.expected();
  for (Isa isa : fd::available_isas()) {
    for (const Kind& kind : kKinds) {
      if (kind.precision == Precision::bf16 && isa != Isa::avx512_bf16) continue;
      const auto conv = c.make(kind.algorithm, isa, kind.precision);
      const std::vector<float> got = c.run(*conv);
      CHECK_EQUAL(got.size(), expected.size());
      const Error error = error_of(got, expected);
      if (!(error.rms <= kind.rms * error.scale && error.largest <= kind.largest * error.scale)) {
        report(c, isa, error);
      }
      if (shares) check_shares(c, *conv, got);
    }
  }
}

}  // namespace

TEST(sizes_and_channels) {
  for (int size = 1; size <= 9; ++size) {
    for (int padding : {0, 1, 2}) {
      if (size + 2 * padding < 3) continue;
      check_case(Case(square(17, 33, size, 3, padding), 3, 1));
      check_case(Case(square(3, 5, size, 3, padding), 1));
    }
  }
  for (int channels : {1, 3, 5, 15, 16, 17, 31, 32, 33, 64}) {
    check_case(Case(square(channels, 64, 8, 3, 1), 1));
    check_case(Case(square(32, channels, 6, 3, 1), 2, 5, false));
  }
  fd::ConvShape wide = square(20, 20, 7, 3, 1);
  wide.width = wide.out_width = 12;
  check_case(Case(wide, 2));
}

TEST(error_of_a_layer) {
  const Case c(square(64, 64, 16, 3, 1), 3, 0, false);
  const std::vector<double> expected = c.expected();
  for (Isa isa : fd::available_isas()) {
    for (const Kind& kind : kKinds) {
      if (kind.precision == Precision::bf16 && isa != Isa::avx512_bf16) continue;
      const Error error = error_of(c.run(*c.make(kind.algorithm, isa, kind.precision)), expected);
      std::printf("%s %s %s: rms %.2g, largest %.2g of the output's rms\n", fd::isa_name(isa),
                  fd::conv_algorithm_name(kind.algorithm),
                  kind.precision == Precision::bf16 ? "bf16" : "float32", error.rms / error.scale,
                  error.largest / error.scale);
      CHECK(error.rms <= kind.rms * error.scale && error.largest <= kind.largest * error.scale);
    }
  }
}

TEST(epilogues) {
  for (int size : {5, 8}) {
    Case residual(square(8, 33, size, 3, 1), 3, 2);
    residual.then(EpilogueStep::add, true, true, true);
    residual.then(fd::Unary::relu);
    check_case(residual);
    Case scaled(square(16, 24, size, 3, 1), 3);
    scaled.then(EpilogueStep::mul, true, false, true);
    scaled.then(EpilogueStep::add, false, false, true);
    scaled.then(fd::Unary::gelu);
    check_case(scaled);
  }
}

TEST(shares_and_blocks_make_the_same_bits) {
  check_case(Case(square(17, 70, 9, 3, 1), 3, 1), true);
  check_case(Case(square(20, 16, 8, 3, 1), 2), true);
}

TEST(a_sample_does_not_depend_on_its_batch) {
  for (Isa isa : fd::available_isas()) {
    for (const Kind& kind : kKinds) {
      if (kind.precision == Precision::bf16 && isa != Isa::avx512_bf16) continue;
      Case all(square(19, 35, 7, 3, 1), 3), one(square(19, 35, 7, 3, 1), 1);
      one.weight = all.weight;
      one.bias = all.bias;
      one.in.data = all.in.data + all.in.sample;
      const auto batch = all.run(*all.make(kind.algorithm, isa, kind.precision));
      const auto alone = one.run(*one.make(kind.algorithm, isa, kind.precision));
      CHECK(std::equal(alone.begin(), alone.end(), batch.begin() + 7 * 7 * 35));
    }
  }
}

TEST(no_samples_write_nothing) {
  const Case c(square(4, 4, 5, 3, 1), 0);
  CHECK(c.run(*c.make(ConvAlgorithm::winograd4, fd::active_isa())).empty());
}

TEST_MAIN
