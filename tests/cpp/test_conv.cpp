// Direct and depthwise convolutions, transposed ones and linear layers against float64 loops.
//
// Tolerance: twice the error of plain float32. Sums of `products` products one after the other plus
// a bias, of normal numbers with outputs of size 1, have an rms error of 0.17 to 0.21 times 2^-24
// (2 + sqrt(products)) and, over some 10^4 outputs, a largest one of 7 to 8 times that (NumPy, 1 to
// 1152 products). bf16: 8e-3.

#include <cmath>

#include "conv_cases.h"
#include "core/error.h"

using conv_cases::Case;
using conv_cases::Error;
using conv_cases::error_of;
using conv_cases::square;
using conv_cases::transposed;
using fd::ConvAlgorithm;
using fd::EpilogueStep;
using fd::Isa;
using fd::Precision;

namespace {

double float32_bound(const Case& c) {
  const fd::ConvShape& s = c.shape;
  const double products = static_cast<double>(s.in_channels / s.groups * s.kernel_y * s.kernel_x);
  return 2 * 0.19 * std::ldexp(1, -24) * (2 + std::sqrt(products) + 2 * c.epilogue.count);
}

void check_close(const Case& c, Isa isa, const Error& error, double rms, double largest) {
  // Outputs that happen to be small are sums of products that are not.
  const double scale = std::max(1.0, error.scale);
  if (error.rms <= rms * scale && error.largest <= largest * scale) return;
  report(c, isa, error);
}

void check_case(const Case& c, ConvAlgorithm algorithm = ConvAlgorithm::direct,
                bool shares = false) {
  const std::vector<double> expected = c.expected();
  for (Isa isa : fd::available_isas()) {
    const auto conv = c.make(algorithm, isa);
    const std::vector<float> got = c.run(*conv);
    CHECK_EQUAL(got.size(), expected.size());
    const double bound = float32_bound(c);
    check_close(c, isa, error_of(got, expected), bound, 8 * bound);
    if (shares) check_shares(c, *conv, got);
    if (isa != Isa::avx512_bf16 || algorithm != ConvAlgorithm::direct) continue;
    const auto rounded = c.make(algorithm, isa, Precision::bf16);
    const std::vector<float> near = c.run(*rounded);
    check_close(c, isa, error_of(near, expected), 8e-3, 8e-2);
    if (shares) check_shares(c, *rounded, near);
  }
}

}  // namespace

TEST(kernels_of_three_by_three) {
  for (int channels : {1, 3, 5, 15, 16, 17, 31, 33, 64}) {
    for (int size : {1, 2, 3, 7, 8}) {
      for (int padding : {0, 1}) {
        if (size + 2 * padding < 3) continue;
        check_case(Case(square(channels, channels % 7 == 3 ? 40 : 17, size, 3, padding), 2));
        check_case(Case(square(5, channels, size, 3, padding), 1, 3, false));
      }
    }
  }
}

TEST(strides_dilations_groups) {
  for (int stride : {1, 2, 3}) {
    for (int dilation : {1, 2}) {
      for (int groups : {1, 2, 4}) {
        check_case(Case(square(12, 20, 9, 3, 1, stride, dilation, groups), 2, 1));
        check_case(Case(square(8, 4, 8, 2, 0, stride, dilation, groups), 1));
      }
    }
  }
  check_case(Case(square(36, 72, 5, 3, 1, 1, 1, 2), 2));
  check_case(Case(square(6, 12, 5, 3, 1, 1, 1, 6), 2));  // two outputs a group
  fd::ConvShape wide = square(3, 8, 9, 1, 0);
  wide.kernel_x = 5;
  wide.padding_x = 2;
  wide.stride_x = 2;
  wide.out_width = 5;
  check_case(Case(wide, 2, 2));
}

TEST(transposed_kernels) {
  for (int kernel : {1, 2, 3, 4, 5}) {
    for (int stride : {1, 2, 3, 4}) {
      for (int output_padding : {0, 1}) {
        if (output_padding >= stride) continue;
        check_case(Case(transposed(7, 18, 3, kernel, stride, 0, output_padding), 2, 1));
        if (kernel >= 3)
          check_case(Case(transposed(6, 33, 4, kernel, stride, 1, output_padding), 1));
      }
    }
  }
  check_case(Case(transposed(64, 32, 4, 2, 2), 3));
  check_case(Case(transposed(40, 24, 1, 4, 4), 3));
  check_case(Case(transposed(12, 8, 5, 3, 2, 1, 1, 2, 4), 2));
}

TEST(linear_layers) {
  for (int in : {1, 3, 16, 33, 129}) {
    for (int out : {1, 16, 17, 31, 64}) {
      fd::ConvShape s = square(in, out, 1, 1, 0);
      check_case(Case(s, 1, 0, out != 16));
      s.width = s.out_width = 13;
      check_case(Case(s, 3, 2));
    }
  }
}

TEST(depthwise) {
  for (int channels : {1, 5, 16, 17, 48, 70}) {
    for (int kernel : {1, 3, 7}) {
      for (int stride : {1, 2}) {
        const Case c(square(channels, channels, 9, kernel, kernel / 2, stride, 1, channels), 2, 3);
        check_case(c, ConvAlgorithm::depthwise, true);
        check_case(c);
      }
    }
  }
  check_case(Case(square(20, 20, 8, 3, 2, 1, 2, 20), 1), ConvAlgorithm::depthwise);
}

TEST(epilogues) {
  const bool yes = true, no = false;
  for (ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::depthwise}) {
    for (int channels : {8, 33}) {
      const int groups = algorithm == ConvAlgorithm::depthwise ? channels : 1;
      const fd::ConvShape shape = square(channels, channels, 5, 3, 1, 1, 1, groups);
      Case residual(shape, 3, 2);
      residual.then(EpilogueStep::add, yes, yes, yes);
      residual.then(fd::Unary::relu);
      check_case(residual, algorithm);
      Case scaled(shape, 3);
      scaled.then(EpilogueStep::mul, yes, no, yes);
      scaled.then(EpilogueStep::add, no, no, yes);
      scaled.then(fd::Unary::silu);
      scaled.then(EpilogueStep::mul, no, no, no);
      check_case(scaled, algorithm);
      Case gelu(shape, 2);
      gelu.then(fd::Unary::gelu);
      gelu.then(EpilogueStep::add, no, yes, no);
      check_case(gelu, algorithm);
    }
  }
}

TEST(out_may_be_the_operand_that_is_added) {
  Case c(square(8, 20, 6, 3, 1), 2);
  c.then(EpilogueStep::add, true, true, true);
  for (Isa isa : fd::available_isas()) {
    const auto conv = c.make(ConvAlgorithm::direct, isa);
    const std::vector<float> apart = c.run(*conv);
    const fd::Operand operand = c.epilogue.steps[0].operand;
    std::vector<float> image(operand.data, operand.data + apart.size());
    fd::Epilogue in_place = c.epilogue;
    in_place.steps[0].operand.data = image.data();
    std::vector<float> scratch(conv->scratch_floats(2, 0) + 16);
    fd::ConvCall call;
    call.samples = 2;
    call.in = c.in;
    call.out = c.out;
    call.out.data = image.data();
    call.epilogue = &in_place;
    void* aligned = scratch.data();
    std::size_t space = scratch.size() * sizeof(float);
    call.scratch = static_cast<float*>(std::align(64, 1, aligned, space));
    conv->run(call);
    CHECK(image == apart);
  }
}

TEST(shares_and_blocks_make_the_same_bits) {
  check_case(Case(square(17, 70, 7, 3, 1), 3, 1), ConvAlgorithm::direct, true);
  check_case(Case(square(12, 72, 6, 3, 1, 2, 1, 2), 3), ConvAlgorithm::direct, true);
  check_case(Case(transposed(33, 40, 3, 4, 2, 1, 1), 3), ConvAlgorithm::direct, true);
}

TEST(a_sample_does_not_depend_on_its_batch) {
  for (Isa isa : fd::available_isas()) {
    Case all(square(19, 35, 7, 3, 1), 3), one(square(19, 35, 7, 3, 1), 1);
    one.weight = all.weight;
    one.bias = all.bias;
    one.in.data = all.in.data + all.in.sample;
    const std::vector<float> batch = all.run(*all.make(ConvAlgorithm::direct, isa));
    const std::vector<float> alone = one.run(*one.make(ConvAlgorithm::direct, isa));
    CHECK(std::equal(alone.begin(), alone.end(), batch.begin() + 7 * 7 * 35));
  }
}

TEST(no_samples_write_nothing) {
  const Case c(square(4, 4, 5, 3, 1), 0);
  for (Isa isa : fd::available_isas()) CHECK(c.run(*c.make(ConvAlgorithm::direct, isa)).empty());
}

TEST(wrong_shapes_are_named) {
  const std::vector<float> weight(10000);
  const auto make = [&](const fd::ConvShape& s, ConvAlgorithm algorithm,
                        Precision precision = Precision::float32) {
    fd::Conv::make(s, algorithm, precision, Isa::scalar, weight.data(), nullptr);
  };
  fd::ConvShape s = square(6, 8, 5, 3, 1, 1, 1, 1);
  CHECK_THROWS(fd::InvalidArgument, "precision: expected bf16 on avx512_bf16 only, got scalar",
               make(s, ConvAlgorithm::direct, Precision::bf16));
  CHECK_THROWS(fd::InvalidArgument,
               "algorithm: expected one that can do this convolution, got depthwise",
               make(s, ConvAlgorithm::depthwise));
  s.groups = 4;
  CHECK_THROWS(fd::InvalidArgument, "groups: expected a divisor of the channels, 6 in and 8 out",
               make(s, ConvAlgorithm::direct));
  s.groups = 1;
  s.out_height = 6;
  CHECK_THROWS(fd::InvalidArgument, "out_height: expected 5, got 6",
               make(s, ConvAlgorithm::direct));
  s.out_height = 5;
  s.stride_x = 0;
  CHECK_THROWS(fd::InvalidArgument, "stride: expected a positive number, got 0",
               make(s, ConvAlgorithm::direct));
  CHECK_THROWS(fd::InvalidArgument, "got winograd4",
               make(square(4, 4, 8, 3, 1, 2), ConvAlgorithm::winograd4));
}

// Where a part has 3, 40, 150 and 600 pixels, or tiles of them.
TEST(every_block_that_is_offered_makes_the_same_bits) {
  std::size_t offered = 0;
  for (int size : {1, 3, 12, 24}) {
    for (int groups : {1, 20}) {
      const Case c(square(20, 20, size, 3, 1, 1, 1, groups), 2);
      for (Isa isa : fd::available_isas()) {
        const Precision precision = isa == Isa::avx512_bf16 ? Precision::bf16 : Precision::float32;
        for (int parts : {1, 2}) {
          for (const fd::ConvChoice& choice :
               fd::conv_choices(c.shape, precision, isa, c.samples, parts, false)) {
            const auto conv = c.make(choice.algorithm, isa, choice.precision);
            const auto blocks = fd::block_choices(c.shape, choice, c.samples, parts);
            CHECK(blocks.size() <= 3 && blocks[0].block == 0);
            for (const fd::ConvChoice& other : blocks) {
              CHECK(other.algorithm == choice.algorithm && other.precision == choice.precision &&
                    other.split_channels == choice.split_channels);
              CHECK(c.run(*conv, parts, choice.split_channels, other.block) == c.run(*conv));
            }
            offered += blocks.size() - 1;
            if (size == 1) CHECK_EQUAL(blocks.size(), 1u);
          }
        }
      }
    }
  }
  CHECK(offered > 0);
}

TEST(blocks_are_bounded_by_what_there_is_and_by_scratch) {
  fd::ConvChoice choice;
  choice.algorithm = ConvAlgorithm::winograd4;
  const auto blocks = [&](const fd::ConvShape& s, int samples, int parts) {
    std::vector<int> found;
    for (const auto& other : fd::block_choices(s, choice, samples, parts)) {
      found.push_back(other.block);
    }
    return found;
  };
  const fd::ConvShape image = square(64, 64, 16, 3, 1);  // 16 tiles
  CHECK(blocks(image, 1, 4) == (std::vector<int>{0}));
  CHECK(blocks(image, 1, 1) == (std::vector<int>{0, 8}));
  CHECK(blocks(image, 4, 1) == (std::vector<int>{0, 8, 32}));
  CHECK(blocks(image, 4, 4) == (std::vector<int>{0, 8}));
  choice.split_channels = true;  // then a part has all the tiles
  CHECK(blocks(image, 4, 4) == (std::vector<int>{0, 8, 32}));
  CHECK(blocks(square(2048, 64, 16, 3, 1), 4, 1) == (std::vector<int>{0, 8}));
}

TEST(choices_can_all_be_made) {
  for (const fd::ConvShape& s : {square(8, 8, 8, 3, 1), square(8, 8, 8, 3, 1, 1, 1, 8),
                                 square(8, 8, 1, 1, 0), transposed(8, 8, 4, 2, 2)}) {
    const Case c(s, 1);
    for (Isa isa : fd::available_isas()) {
      for (bool exact : {false, true}) {
        const auto choices = fd::conv_choices(s, Precision::float32, isa, 1, 2, exact);
        CHECK(!choices.empty());
        for (const fd::ConvChoice& choice : choices) {
          CHECK(c.make(choice.algorithm, isa) != nullptr);
          const bool winograd = choice.algorithm == ConvAlgorithm::winograd2 ||
                                choice.algorithm == ConvAlgorithm::winograd4;
          CHECK(!(exact && winograd));
        }
      }
    }
  }
}

TEST_MAIN
