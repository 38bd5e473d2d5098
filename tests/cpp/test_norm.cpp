// Group norm and layer norm against cpu/reference/norm.h: channels and pixels around the vector
// widths, strided images, means far above the deviation, operands by channel and by element,
// epilogues, in place, and parts.

#include <algorithm>
#include <cmath>
#include <random>

#include "check.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/norm.h"
#include "cpu/reference/elementwise.h"
#include "cpu/reference/norm.h"

namespace {

constexpr float kGuard = 777.0f;
enum class Affine { none, channel, element };

struct Problem {
  fd::NormCall call;
  std::vector<float> x, y, gamma, beta, scratch;

  // Rows and pixels with gaps of `gap` between them.
  Problem(int samples, int height, int width, int channels, int groups, Affine affine,
          std::ptrdiff_t gap = 0, float mean = 0.5f) {
    const std::ptrdiff_t pixel = channels + gap, row = width * pixel + gap,
                         sample = height * row + gap;
    std::mt19937 random(5);
    std::normal_distribution<float> draw;
    x.resize(static_cast<std::size_t>(samples * sample));
    for (float& value : x) value = mean + draw(random);
    y.assign(x.size(), kGuard);
    call.samples = samples;
    call.height = height;
    call.width = width;
    call.channels = channels;
    call.groups = groups;
    call.in = {x.data(), sample, row, pixel};
    call.out = {y.data(), sample, row, pixel};
    if (affine != Affine::none) {
      const bool element = affine == Affine::element;
      const std::size_t count =
          static_cast<std::size_t>(channels) *
          (element ? static_cast<std::size_t>(height) * static_cast<std::size_t>(width) : 1);
      gamma.resize(count);
      beta.resize(count);
      for (float& value : gamma) value = draw(random);
      for (float& value : beta) value = draw(random);
      call.gamma = {gamma.data(), 0, element ? std::ptrdiff_t{width} * channels : 0,
                    element ? channels : 0, 1};
      call.beta = call.gamma;
      call.beta.data = beta.data();
    }
    scratch.resize(fd::norm_scratch_floats(call));
    call.scratch = scratch.data();
  }
  Problem(const Problem&) = delete;

  void run(fd::Isa isa, int parts = 1) {
    call.share.parts = parts;
    for (int part = parts - 1; part >= 0; --part) {
      call.share.part = part;
      std::fill(scratch.begin(), scratch.end(), std::nanf(""));
      fd::norm(call, isa);
    }
  }

  // body(sample, row, column, channel) for every element.
  template <class Body>
  void each(Body&& body) const {
    for (int s = 0; s < call.samples; ++s) {
      for (int i = 0; i < call.height; ++i) {
        for (int j = 0; j < call.width; ++j) {
          for (int c = 0; c < call.channels; ++c) body(s, i, j, c);
        }
      }
    }
  }
};

// An element, and what its rounding is measured against: the terms that it is the sum of,
// (1 + |normalised x|) |gamma| + |beta|.
struct Expected {
  double y, scale;
};

// In `each`'s order.
std::vector<Expected> expected_of(const Problem& problem) {
  const fd::NormCall& call = problem.call;
  const std::vector<double> reference = fd::norm_reference(call);
  std::vector<Expected> all;
  problem.each([&](int s, int i, int j, int c) {
    const double y = reference[all.size()];
    const double gamma = call.gamma.data ? fd::operand_reference(call.gamma, s, i, j, c) : 1;
    const double beta = call.beta.data ? fd::operand_reference(call.beta, s, i, j, c) : 0;
    all.push_back({y, std::abs(gamma) + std::abs(y - beta) + std::abs(beta)});
  });
  return all;
}

float result(const Problem& problem, int s, int i, int j, int c) {
  const fd::Image& out = problem.call.out;
  return out.data[s * out.sample + i * out.row + j * out.pixel + c];
}

// Difference, factor, product and sum are rounded to float32, 6e-8 at most each.
double worst_largest = 0, worst_rms = 0;  // printed at the end
constexpr double kRms = 4e-8, kLargest = 2.4e-7;

void compare(Problem& problem, fd::Isa isa, const std::vector<Expected>& expected) {
  problem.run(isa);
  double largest = 0, squares = 0;
  std::size_t k = 0;
  problem.each([&](int s, int i, int j, int c) {
    const double error = std::abs(result(problem, s, i, j, c) - expected[k].y) / expected[k].scale;
    largest = std::max(largest, std::isfinite(error) ? error : HUGE_VAL);
    squares += error * error;
    ++k;
  });
  const double rms = std::sqrt(squares / static_cast<double>(k));
  worst_largest = std::max(worst_largest, largest);
  worst_rms = std::max(worst_rms, rms);
  CHECK(rms <= kRms);
  CHECK(largest <= kLargest);
  if (rms > kRms || largest > kLargest) {
    std::printf("%s: %d x %d x %d, %d groups: largest %.3g, rms %.3g\n", fd::isa_name(isa),
                problem.call.height, problem.call.width, problem.call.channels, problem.call.groups,
                largest, rms);
  }
}

void compare_all(Problem& problem) {
  const auto expected = expected_of(problem);
  for (fd::Isa isa : fd::available_isas()) compare(problem, isa, expected);
}

}  // namespace

TEST(groups_of_any_number_of_channels) {
  for (int size : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 40, 63, 65, 100, 130}) {
    for (int groups : {1, 2, 3, 8}) {
      for (Affine affine : {Affine::none, Affine::channel, Affine::element}) {
        Problem problem(2, 3, 5, size * groups, groups, affine, size % 3);
        compare_all(problem);
      }
    }
  }
}

TEST(images_of_any_size) {
  for (int height : {1, 2, 5, 16}) {
    for (int width : {1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 63, 64, 65, 130}) {
      Problem dense(1, height, width, 24, 3, Affine::channel);
      compare_all(dense);
      Problem gaps(1, height, width, 24, 3, Affine::element, 5);
      compare_all(gaps);
    }
  }
}

TEST(pixels_over_their_own_channels) {
  for (int channels : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 384, 1025, 5000}) {
    for (Affine affine : {Affine::none, Affine::channel, Affine::element}) {
      Problem problem(2, 2, 7, channels, 0, affine, channels % 4);
      compare_all(problem);
    }
  }
}

TEST(the_group_norm_of_a_unet) {
  Problem problem(1, 16, 16, 64, 8, Affine::channel);
  compare_all(problem);
}

TEST(many_elements) {
  Problem one_group(1, 64, 64, 16, 1, Affine::channel);
  compare_all(one_group);
  Problem rows(1, 1, 2, 65536, 0, Affine::none);
  compare_all(rows);
}

// Where the mean is 1000 deviations, x holds 2^-14 of a deviation: the reference sees that too, and
// what is left to err is the arithmetic.
TEST(means_far_above_the_deviation) {
  for (float mean : {30.0f, -1000.0f}) {
    for (int groups : {0, 1, 4}) {
      Problem problem(1, 16, 16, 32, groups, Affine::channel, 0, mean);
      compare_all(problem);
    }
  }
}

TEST(constant_input_gives_beta) {
  for (int groups : {0, 2}) {
    Problem problem(1, 3, 3, 12, groups, Affine::channel);
    std::fill(problem.x.begin(), problem.x.end(), 0.1f);
    for (fd::Isa isa : fd::available_isas()) {
      problem.run(isa);
      problem.each([&](int s, int i, int j, int c) {
        const double beta = problem.beta[static_cast<std::size_t>(c)];
        CHECK(std::abs(result(problem, s, i, j, c) - beta) <= 4e-6);
      });
    }
  }
}

TEST(nan_stays_in_its_group) {
  for (fd::Isa isa : fd::available_isas()) {
    Problem problem(1, 2, 2, 8, 2, Affine::none);
    problem.x[5] = std::nanf("");  // pixel 0, channel 5: the second group
    problem.run(isa);
    problem.each([&](int s, int i, int j, int c) {
      CHECK_EQUAL(std::isnan(result(problem, s, i, j, c)), c >= 4);
    });
  }
}

TEST(epilogues) {
  for (int groups : {0, 4}) {
    for (int channels : {12, 48}) {
      Problem problem(2, 3, 7, channels, groups, Affine::channel, 3);
      std::vector<float> scale(static_cast<std::size_t>(2 * channels), 1.5f);
      std::vector<float> residual = problem.x;
      for (std::size_t i = 0; i < scale.size(); ++i) scale[i] += static_cast<float>(i % 7);
      fd::Epilogue epilogue;
      epilogue.count = 3;
      epilogue.steps[0].kind = fd::EpilogueStep::mul;
      epilogue.steps[0].operand = {scale.data(), channels, 0, 0, 1};  // by sample and channel
      epilogue.steps[1].kind = fd::EpilogueStep::add;
      epilogue.steps[1].operand = {residual.data(), problem.call.in.sample, problem.call.in.row,
                                   problem.call.in.pixel, 1};
      epilogue.steps[2].function = fd::Unary::relu;
      problem.call.epilogue = &epilogue;
      const auto expected = fd::norm_reference(problem.call);
      for (fd::Isa isa : fd::available_isas()) {
        problem.run(isa);
        std::size_t k = 0;
        problem.each([&](int s, int i, int j, int c) {
          CHECK(std::abs(result(problem, s, i, j, c) - expected[k++]) <= 2e-5);
        });
      }
    }
  }
}

TEST(gaps_are_left_alone_and_parts_do_not_matter) {
  for (fd::Isa isa : fd::available_isas()) {
    for (int groups : {0, 1, 5, 8, 40}) {
      for (Affine affine : {Affine::channel, Affine::element}) {
        Problem problem(3, 5, 7, 40, groups, affine, 3);
        problem.run(isa);
        const auto whole = problem.y;
        std::vector<bool> inside(whole.size());
        problem.each([&](int s, int i, int j, int c) {
          inside[static_cast<std::size_t>(
              &problem.call.out.data[s * problem.call.out.sample + i * problem.call.out.row +
                                     j * problem.call.out.pixel + c] -
              problem.y.data())] = true;
        });
        for (std::size_t i = 0; i < whole.size(); ++i) {
          if (!inside[i]) CHECK_EQUAL(whole[i], kGuard);
        }
        for (int parts : {2, 3, 5, 200}) {
          std::fill(problem.y.begin(), problem.y.end(), kGuard);
          problem.run(isa, parts);
          CHECK(problem.y == whole);
        }
        // In place, in parts.
        const auto x = problem.x;
        problem.call.out.data = problem.x.data();
        problem.run(isa, 3);
        for (std::size_t i = 0; i < whole.size(); ++i) {
          CHECK_EQUAL(problem.x[i], inside[i] ? whole[i] : x[i]);
        }
      }
    }
  }
}

TEST(what_was_measured) {
  std::printf("relative to what is added: largest %.3g, rms of a case at most %.3g\n",
              worst_largest, worst_rms);
}

TEST(nothing_and_wrong_calls) {
  for (fd::Isa isa : fd::available_isas()) {
    Problem problem(1, 2, 2, 8, 2, Affine::none);
    fd::NormCall call = problem.call;
    call.samples = 0;
    fd::norm(call, isa);
    call.samples = 1;
    call.groups = 3;
    CHECK_THROWS(fd::InvalidArgument, "groups: expected 0 or a divisor of 8 channels, got 3",
                 fd::norm(call, isa));
    call.groups = 2;
    call.share = {1, 1};
    CHECK_THROWS(fd::InvalidArgument, "share: expected", fd::norm(call, isa));
    call.share = {};
    call.scratch = nullptr;
    CHECK_THROWS(fd::InvalidArgument, "scratch: expected", fd::norm(call, isa));
    call.scratch = problem.call.scratch;
    call.in.data = nullptr;
    CHECK_THROWS(fd::InvalidArgument, "in: expected", fd::norm(call, isa));
  }
}

TEST_MAIN
