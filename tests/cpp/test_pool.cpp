// Pools against cpu/reference/pool.h: windows that overlap, leave gaps or hang over the edge,
// images inside wider ones, epilogues, nan and infinities; channels around the vector widths;
// parts.

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/elementwise.h"
#include "cpu/elementwise_kernels.h"
#include "cpu/reference/pool.h"
#include "views.h"

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Geometry {
  int height, width, kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x;
};

const Geometry kGeometries[] = {
    {1, 1, 1, 1, 1, 1, 0, 0}, {4, 6, 2, 2, 2, 2, 0, 0}, {7, 5, 3, 2, 2, 1, 0, 0},
    {5, 8, 2, 3, 3, 4, 0, 0}, {7, 7, 3, 3, 2, 2, 1, 1}, {4, 3, 3, 5, 1, 2, 1, 2},
};

int out_size(int size, int kernel, int stride, int padding) {
  return (size + 2 * padding - kernel) / stride + 1;
}

struct Problem {
  fd::PoolCall call;
  std::vector<float> in, out;

  Problem(fd::PoolKind kind, const Geometry& g, int channels, int gap) {
    call.kind = kind;
    call.samples = 2;
    call.channels = channels;
    call.height = g.height;
    call.width = g.width;
    call.kernel_y = g.kernel_y;
    call.kernel_x = g.kernel_x;
    call.stride_y = g.stride_y;
    call.stride_x = g.stride_x;
    call.padding_y = g.padding_y;
    call.padding_x = g.padding_x;
    call.out_height = out_size(g.height, g.kernel_y, g.stride_y, g.padding_y);
    call.out_width = out_size(g.width, g.kernel_x, g.stride_x, g.padding_x);
    const auto strides = [&](auto& image, int height, int width) {
      image.pixel = channels + gap;
      image.row = width * image.pixel;
      image.sample = height * image.row;
      return static_cast<std::size_t>(2 * image.sample - gap);  // up to the last channel
    };
    in.resize(strides(call.in, g.height, g.width));
    out.assign(strides(call.out, call.out_height, call.out_width), views::kGuard);
    views::fill_random(in, 1, -2, 2);
    call.in.data = in.data();
    call.out.data = out.data();
  }
  Problem(const Problem&) = delete;

  // Sums of up to 9 numbers below 2, and a rounding of the quotient.
  void run_and_check(fd::Isa isa) {
    std::vector<float> first;
    for (int parts : {1, 2, 3, 5}) {
      std::fill(out.begin(), out.end(), views::kGuard);
      for (int part = 0; part < parts; ++part) {
        call.share = {part, parts};
        fd::pool(call, isa);
      }
      if (parts == 1) first = out;
      CHECK(views::same_bits(first, out));
    }
    const auto expected = fd::pool_reference(call);
    std::size_t k = 0;
    std::vector<bool> written(out.size(), false);
    for (int s = 0; s < 2; ++s) {
      for (int y = 0; y < call.out_height; ++y) {
        for (int x = 0; x < call.out_width; ++x) {
          for (int c = 0; c < call.channels; ++c) {
            const auto at = static_cast<std::size_t>(s * call.out.sample + y * call.out.row +
                                                     x * call.out.pixel + c);
            const double e = expected[k++];
            written[at] = true;
            CHECK(std::isnan(e) ? std::isnan(out[at])
                                : e == out[at] || std::abs(out[at] - e) < 8e-7);
          }
        }
      }
    }
    for (std::size_t i = 0; i < out.size(); ++i) CHECK(written[i] || out[i] == views::kGuard);
  }
};

}  // namespace

TEST(every_geometry) {
  for (fd::Isa isa : fd::available_isas()) {
    for (const Geometry& g : kGeometries) {
      for (int channels : {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33}) {
        for (int gap : {0, 3}) {
          Problem(fd::PoolKind::max, g, channels, gap).run_and_check(isa);
          if (g.padding_y + g.padding_x > 0) continue;
          Problem(fd::PoolKind::mean, g, channels, gap).run_and_check(isa);
        }
      }
    }
  }
}

TEST(nan_and_infinities) {
  for (fd::Isa isa : fd::available_isas()) {
    for (int channels : {3, 16, 17}) {
      Problem problem(fd::PoolKind::max, {6, 6, 3, 3, 1, 1, 1, 1}, channels, 0);
      for (std::size_t i = 0; i < problem.in.size(); ++i) {
        if (i % 41 == 7) problem.in[i] = kNan;
        if (i % 37 == 3) problem.in[i] = -kNan;
        if (i % 13 == 5) problem.in[i] = HUGE_VALF;
        if (i % 3 == 1) problem.in[i] = -HUGE_VALF;
      }
      problem.run_and_check(isa);
    }
  }
}

TEST(epilogue) {
  // relu(y) * 0.5 (one for all) + c / 8 (a value a channel), written in that order.
  fd::Epilogue epilogue;
  const float half = 0.5f;
  std::vector<float> eighths(40);
  for (std::size_t i = 0; i < eighths.size(); ++i) eighths[i] = static_cast<float>(i) / 8;
  epilogue.count = 3;
  epilogue.steps[0].kind = fd::EpilogueStep::unary;
  epilogue.steps[0].function = fd::Unary::relu;
  epilogue.steps[1].kind = fd::EpilogueStep::mul;
  epilogue.steps[1].operand.data = &half;
  epilogue.steps[2].kind = fd::EpilogueStep::add;
  epilogue.steps[2].operand.data = eighths.data();
  epilogue.steps[2].operand.channel = 1;
  for (fd::Isa isa : fd::available_isas()) {
    for (int channels : {1, 15, 16, 17, 40}) {
      if (channels == 40) eighths.resize(40);
      for (fd::PoolKind kind : {fd::PoolKind::max, fd::PoolKind::mean}) {
        Problem problem(kind, {4, 6, 2, 2, 2, 2, 0, 0}, channels, 0);
        problem.call.epilogue = &epilogue;
        problem.run_and_check(isa);
      }
    }
  }
}

// A pool of single elements leaves them to the epilogue, which must have every function.
TEST(every_function_as_an_epilogue) {
  for (fd::Isa isa : fd::available_isas()) {
    for (int kind = 0; kind < fd::kUnaryKinds; ++kind) {
      fd::Epilogue epilogue;
      epilogue.count = 1;
      epilogue.steps[0].function = static_cast<fd::Unary>(kind);
      Problem problem(fd::PoolKind::max, {3, 4, 1, 1, 1, 1, 0, 0}, 17, 0);
      problem.call.epilogue = &epilogue;
      fd::pool(problem.call, isa);
      std::vector<float> alone(problem.in.size());
      FD_KERNELS(isa, fd::kElementwise)
          .unary(epilogue.steps[0].function, problem.in.data(), alone.data(), alone.size());
      CHECK(views::same_bits(problem.out, alone));
    }
  }
}

TEST(wrong_calls_are_named) {
  const auto isa = fd::Isa::scalar;
  Problem mean(fd::PoolKind::mean, {6, 6, 3, 3, 1, 1, 1, 1}, 1, 0);
  CHECK_THROWS(fd::InvalidArgument, "padding: expected none", fd::pool(mean.call, isa));
  Problem far(fd::PoolKind::max, {6, 6, 3, 3, 1, 1, 0, 0}, 1, 0);
  far.call.padding_y = 3;
  CHECK_THROWS(fd::InvalidArgument, "pool height: expected windows", fd::pool(far.call, isa));
  far.call.padding_y = 0;
  far.call.stride_x = 0;
  CHECK_THROWS(fd::InvalidArgument, "pool width: expected a kernel", fd::pool(far.call, isa));
}

TEST_MAIN
