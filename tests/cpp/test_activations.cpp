// Every function of cpu/simd/vector_math.h against float64 math: over bit patterns spread evenly
// over all of float32, over every stretch in which the formulas change, and edge by edge. Prints
// the largest errors, which must stay below what vector_math.h states.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "check.h"
#include "cpu/dispatch.h"
#include "cpu/elementwise_kernels.h"
#include "cpu/reference/elementwise.h"

namespace {

using fd::Unary;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kMost = std::numeric_limits<float>::max();
constexpr float kLeast = std::numeric_limits<float>::denorm_min();

float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// The distance between the float32 numbers around y.
double ulp(double y) { return std::ldexp(1.0, std::max(std::ilogb(y), -126) - 23); }

// The bounds that vector_math.h states, for x in [lowest, highest]; 0: none.
struct Function {
  const char* name;
  Unary kind;
  float lowest, highest;
  double ulps;      // of the result
  double absolute;  // where the result is in [-1, 1]
  double relative;  // where x > 1e-30
};

const Function kFunctions[] = {
    {"gelu", Unary::gelu, -kMost, kMost, 0, 4e-7, 1e-5},
    {"gelu_tanh", Unary::gelu_tanh, -kMost, kMost, 0, 1.2e-7, 1.7e-7},
    {"silu", Unary::silu, -kMost, kMost, 0, 1.2e-7, 1.6e-7},
    {"sigmoid", Unary::sigmoid, -kMost, kMost, 2.4, 0, 0},
    {"tanh", Unary::tanh, -kMost, kMost, 1.4, 0, 0},
    {"elu", Unary::elu, -kMost, kMost, 1.0, 0, 0},
    {"exp", Unary::exp, -kMost, 88.722f, 1.1, 0, 0},
    {"log", Unary::log, kLeast, kMost, 0.9, 0, 0},
    {"sin", Unary::sin, -12800, 12800, 0, 1e-7, 0},
    {"cos", Unary::cos, -12800, 12800, 0, 1e-7, 0},
    {"sqrt", Unary::sqrt, 0, kMost, 0.5, 0, 0},
    {"rsqrt", Unary::rsqrt, kLeast, kMost, 1.6, 0, 0},
};

std::vector<float> map(fd::Isa isa, Unary kind, const std::vector<float>& x) {
  const fd::ElementwiseKernels& kernels = FD_KERNELS(isa, fd::kElementwise);
  std::vector<float> y(x.size());
  kernels.unary(kind, x.data(), y.data(), x.size());
  return y;
}

std::vector<float> dense_inputs() {
  // A smaller step (a prime, so that all low bits occur) for a look at nearly every float.
  const char* step_text = std::getenv("FASTDIFF_TEST_STEP");
  const std::uint64_t step = step_text != nullptr ? std::strtoull(step_text, nullptr, 10) : 2039;
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += step) {
    x.push_back(float_of_bits(static_cast<std::uint32_t>(bits)));
  }
  for (int i = -2000000; i < 2000000; ++i) x.push_back(static_cast<float>(i) * 1e-5f);
  for (int i = -1280000; i < 1280000; ++i) x.push_back(static_cast<float>(i) * 0.01f);
  return x;
}

}  // namespace

TEST(dense) {
  const std::vector<float> x = dense_inputs();
  std::vector<double> exact(x.size());
  for (const Function& f : kFunctions) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      exact[i] = fd::unary_reference(f.kind, double{x[i]});
    }
    for (fd::Isa isa : fd::available_isas()) {
      const auto y = map(isa, f.kind, x);
      double ulps = 0, absolute = 0, relative = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (!(x[i] >= f.lowest && x[i] <= f.highest)) continue;
        if (double{y[i]} == exact[i]) continue;
        double error = std::abs(y[i] - exact[i]);
        if (!std::isfinite(error)) error = HUGE_VAL;
        if (f.ulps > 0) ulps = std::max(ulps, error / ulp(exact[i]));
        if (std::abs(exact[i]) <= 1) absolute = std::max(absolute, error);
        if (x[i] > 1e-30f) relative = std::max(relative, error / std::abs(exact[i]));
      }
      std::printf("%-9s %-11s %.3g ulps, %.3g absolute, %.3g relative\n", f.name, fd::isa_name(isa),
                  ulps, absolute, relative);
      CHECK(f.ulps == 0 || ulps <= f.ulps);
      CHECK(f.absolute == 0 || absolute <= f.absolute);
      CHECK(f.relative == 0 || relative <= f.relative);
    }
  }
}

TEST(exact_functions) {
  const std::vector<float> x = dense_inputs();
  for (fd::Isa isa : fd::available_isas()) {
    const auto relu = map(isa, Unary::relu, x), neg = map(isa, Unary::neg, x),
               abs = map(isa, Unary::abs, x), elu = map(isa, Unary::elu, x);
    int wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) continue;
      wrong += relu[i] != std::max(x[i], 0.0f);
      wrong += neg[i] != -x[i] || std::signbit(neg[i]) == std::signbit(x[i]);
      wrong += abs[i] != std::abs(x[i]) || std::signbit(abs[i]);
      wrong += x[i] > 0 && elu[i] != x[i];
    }
    CHECK_EQUAL(wrong, 0);
  }
}

TEST(nan_stays_nan) {
  const std::vector<float> x = {kNan, -kNan, float_of_bits(0x7fc12345), float_of_bits(0x7f800001),
                                float_of_bits(0xffffffff)};
  for (fd::Isa isa : fd::available_isas()) {
    for (int kind = 0; kind < fd::kUnaryKinds; ++kind) {
      for (float y : map(isa, static_cast<Unary>(kind), x)) CHECK(std::isnan(y));
    }
  }
}

TEST(edges) {
  const std::vector<float> x = {0.0f, -0.0f, kLeast, -kLeast, kMost, -kMost, kInfinity, -kInfinity};
  struct {
    Unary kind;
    float y[8];
  } const expected[] = {
      {Unary::relu, {0, 0, kLeast, 0, kMost, 0, kInfinity, 0}},
      {Unary::gelu, {0, 0, 0, 0, kMost, 0, kInfinity, 0}},
      {Unary::gelu_tanh, {0, 0, 0, 0, kMost, 0, kInfinity, 0}},
      {Unary::silu, {0, 0, 0, 0, kMost, 0, kInfinity, 0}},
      {Unary::sigmoid, {0.5f, 0.5f, 0.5f, 0.5f, 1, 0, 1, 0}},
      {Unary::tanh, {0, 0, kLeast, -kLeast, 1, -1, 1, -1}},
      {Unary::elu, {0, 0, kLeast, -kLeast, kMost, -1, kInfinity, -1}},
      {Unary::exp, {1, 1, 1, 1, kInfinity, 0, kInfinity, 0}},
      {Unary::log, {-kInfinity, -kInfinity, -103.27893f, kNan, 88.722839f, kNan, kInfinity, kNan}},
      {Unary::sqrt, {0, 0, 3.7433922e-23f, kNan, 1.8446743e19f, kNan, kInfinity, kNan}},
      {Unary::rsqrt, {kInfinity, -kInfinity, 2.6713738e22f, kNan, 5.4210109e-20f, kNan, 0, kNan}},
      {Unary::neg, {0, 0, -kLeast, kLeast, -kMost, kMost, -kInfinity, kInfinity}},
      {Unary::abs, {0, 0, kLeast, kLeast, kMost, kMost, kInfinity, kInfinity}},
  };
  for (fd::Isa isa : fd::available_isas()) {
    for (const auto& e : expected) {
      const auto y = map(isa, e.kind, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        // Products with x leave something below 1.5e-36 where the limit is 0.
        const bool same = y[i] == e.y[i] || std::abs(y[i] - e.y[i]) < 1.5e-36f ||
                          std::abs(y[i] - e.y[i]) <= 1.2e-7f * std::abs(e.y[i]);
        CHECK(std::isnan(e.y[i]) ? std::isnan(y[i]) : same);
      }
    }
    for (Unary kind : {Unary::sin, Unary::cos}) {
      const auto y = map(isa, kind, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (std::isinf(x[i])) CHECK(std::isnan(y[i]));
        // So far out the angle is lost, but not the bounds.
        if (std::abs(x[i]) == kMost) CHECK(std::abs(y[i]) <= 1);
      }
      CHECK_EQUAL(y[0], kind == Unary::sin ? 0.0f : 1.0f);
    }
  }
}

TEST(lanes_and_counts_do_not_matter) {
  std::vector<float> x(75);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) * 0.11f - 3.7f;
  for (fd::Isa isa : fd::available_isas()) {
    for (int kind = 0; kind < fd::kUnaryKinds; ++kind) {
      const auto whole = map(isa, static_cast<Unary>(kind), x);
      for (std::size_t first : {0u, 1u, 5u, 16u}) {
        for (std::size_t count : {0u, 1u, 3u, 4u, 5u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 33u}) {
          const auto at = x.begin() + static_cast<std::ptrdiff_t>(first);
          const auto part = map(isa, static_cast<Unary>(kind),
                                std::vector<float>(at, at + static_cast<std::ptrdiff_t>(count)));
          CHECK(count == 0 ||
                std::memcmp(part.data(), whole.data() + first, count * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_MAIN
