// Softmax against cpu/reference/softmax.h, over lengths around the vector widths, with large
// scores, rows of -inf and nan, strided rows, in place, and in parts.

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "check.h"
#include "core/error.h"
#include "cpu/attention.h"
#include "cpu/dispatch.h"
#include "cpu/reference/softmax.h"

namespace {

constexpr float kGuard = 777.0f;  // stands where nothing may be written
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> scores(std::size_t count, float spread) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> draw(-spread, spread);
  std::vector<float> x(count);
  for (float& value : x) value = draw(random);
  return x;
}

fd::SoftmaxCall dense(std::ptrdiff_t rows, std::ptrdiff_t length, const float* in, float* out) {
  fd::SoftmaxCall call;
  call.rows = rows;
  call.length = length;
  call.in = in;
  call.out = out;
  call.in_stride = call.out_stride = length;
  return call;
}

}  // namespace

// An ulp of exp and one of the quotient, 1.2e-7 each, and the rounding of x - max, up to 2^-18 for
// differences of up to 160, where what is left is too small to matter: p |ln p| 2^-24.
TEST(lengths_and_magnitudes) {
  for (fd::Isa isa : fd::available_isas()) {
    double worst = 0, squares = 0, count = 0;
    for (std::ptrdiff_t length :
         {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 77, 127, 129, 1000, 4096, 5001}) {
      for (float spread : {0.0f, 1.0f, 10.0f, 80.0f}) {
        const std::ptrdiff_t rows = 5;
        const auto x = scores(static_cast<std::size_t>(rows * length), spread);
        std::vector<float> y(x.size() + 1, kGuard);
        fd::softmax(dense(rows, length, x.data(), y.data()), isa);
        CHECK_EQUAL(y.back(), kGuard);
        const auto expected = fd::softmax_reference(dense(rows, length, x.data(), nullptr));
        for (std::size_t i = 0; i < expected.size(); ++i) {
          const double scale = expected[i] * (1 + std::abs(std::log(expected[i]))) + 1e-37;
          const double error = std::abs(y[i] - expected[i]) / scale;
          worst = std::max(worst, std::isfinite(error) ? error : HUGE_VAL);
          squares += error * error;
          count += 1;
        }
      }
    }
    std::printf("%s: largest %.3g, rms %.3g\n", fd::isa_name(isa), worst,
                std::sqrt(squares / count));
    CHECK(worst <= 3e-7);
    CHECK(std::sqrt(squares / count) <= 6e-8);
  }
}

TEST(infinities_and_nan_as_torch_has_them) {
  for (fd::Isa isa : fd::available_isas()) {
    for (std::size_t length : {1u, 3u, 16u, 35u, 64u}) {
      std::vector<float> x(length, -kInf), y(length);
      const auto run = [&] {
        fd::softmax(dense(1, static_cast<std::ptrdiff_t>(length), x.data(), y.data()), isa);
      };
      run();
      for (float value : y) CHECK(std::isnan(value));
      x[length / 2] = 3;  // one finite score takes all
      run();
      for (std::size_t i = 0; i < length; ++i) CHECK_EQUAL(y[i], i == length / 2 ? 1.0f : 0.0f);
      for (std::size_t at : {std::size_t{0}, length / 2, length - 1}) {
        std::fill(x.begin(), x.end(), 1.0f);
        x[at] = std::nanf("");
        run();
        for (float value : y) CHECK(std::isnan(value));
        x[at] = kInf;
        run();
        CHECK(std::isnan(y[at]));
      }
    }
  }
}

TEST(strided_rows_in_place_and_in_parts) {
  for (fd::Isa isa : fd::available_isas()) {
    const std::ptrdiff_t samples = 3, rows = 7, length = 19, stride = 23, sample = 200;
    const auto x = scores(static_cast<std::size_t>(samples * sample), 5);
    fd::SoftmaxCall call = dense(rows, length, nullptr, nullptr);
    call.samples = static_cast<int>(samples);
    call.in_sample = call.out_sample = sample;
    call.in_stride = call.out_stride = stride;
    std::vector<float> whole;
    for (int parts : {1, 2, 3, 5, 50}) {
      std::vector<float> y = x;
      call.in = call.out = y.data();
      call.share.parts = parts;
      for (int part = parts - 1; part >= 0; --part) {
        call.share.part = part;
        fd::softmax(call, isa);
      }
      if (parts == 1) whole = y;
      CHECK(y == whole);
    }
    for (std::size_t i = 0; i < whole.size(); ++i) {
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(i) % sample;
      if (at / stride >= rows || at % stride >= length) CHECK_EQUAL(whole[i], x[i]);
    }
    call.in = x.data();
    const auto expected = fd::softmax_reference(call);
    std::size_t k = 0;
    for (std::ptrdiff_t s = 0; s < samples; ++s) {
      for (std::ptrdiff_t r = 0; r < rows; ++r) {
        for (std::ptrdiff_t i = 0; i < length; ++i) {
          const auto at = static_cast<std::size_t>(s * sample + r * stride + i);
          CHECK(std::abs(whole[at] - expected[k++]) <= 2e-7);
        }
      }
    }
  }
}

TEST(nothing_and_wrong_calls) {
  for (fd::Isa isa : fd::available_isas()) {
    fd::softmax(dense(0, 5, nullptr, nullptr), isa);
    fd::softmax(dense(5, 0, nullptr, nullptr), isa);
    float x[4] = {};
    fd::SoftmaxCall call = dense(1, 4, x, x);
    call.share = {2, 2};
    CHECK_THROWS(fd::InvalidArgument, "share: expected 0 <= part < parts, got 2 of 2",
                 fd::softmax(call, isa));
    CHECK_THROWS(fd::InvalidArgument, "in: expected a pointer",
                 fd::softmax(dense(1, 4, nullptr, x), isa));
  }
}

TEST_MAIN
