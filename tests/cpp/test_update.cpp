// The sampler update against the same sentences in plain float32 (bit for bit) and in float64, over
// all instruction sets, sizes around the vector width and the pieces, and cuts into ranges.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/noise.h"
#include "cpu/update.h"

namespace {

constexpr std::size_t kSizes[] = {1,  3,  4,  5,   7,   8,   9,   15,   16,  17,
                                  31, 63, 64, 147, 511, 512, 513, 1027, 3072};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Floats = std::vector<float>;

std::mt19937 random_bits(7);

double uniform(double lo, double hi) {
  return std::uniform_real_distribution<double>(lo, hi)(random_bits);
}

Floats random_array(std::size_t count, double lo = -2, double hi = 2) {
  Floats values(count);
  for (float& value : values) value = static_cast<float>(uniform(lo, hi));
  return values;
}

// A row with every column in use; what is asked for by `bits` is left out.
std::vector<double> random_row(unsigned bits) {
  std::vector<double> row(fd::kColumnCount);
  for (double& value : row) value = uniform(-1, 1);
  row[fd::kColumnX0FromM] = uniform(0.5, 1.5);
  row[fd::kColumnX0Lo] = -1;
  row[fd::kColumnX0Hi] = 0.75;
  row[fd::kColumnClampM] = (bits & 1) == 0;
  if (bits & 2) row[fd::kColumnX0] = 0;
  if (bits & 4) row[fd::kColumnNoise] = 0;
  if (bits & 8) row[fd::kColumnX + 2] = 0;
  return row;
}

struct Sample {
  std::size_t count, plane;
  std::vector<double> row;
  Floats x[fd::kHistory], m[fd::kHistory], uncond, image, mask;
  float guidance = 2.5f, factor = 1, in_scale = 0.3f, alpha = 0.8f, sigma = 0.6f;
  std::uint64_t seed = 0x123456789abcdefu;
  std::uint32_t step = 11;

  Sample(std::size_t count_, unsigned bits) : count(count_), row(random_row(bits)) {
    plane = count % 3 == 0 ? count / 3 : count;
    for (int back = 0; back < fd::kHistory; ++back) {
      x[back] = random_array(count);
      m[back] = random_array(count);
    }
    uncond = random_array(count);
    image = random_array(count);
    mask = random_array(plane, 0, 1);
  }

  Floats normal(std::uint32_t at, std::uint32_t stream, fd::Isa isa) const {
    fd::NoiseRequest request;
    request.seeds = &seed;
    request.n = 1;
    request.step = at;
    request.stream = stream;
    request.count = count;
    Floats z(count);
    fd::noise_normal(request, z.data(), 1, &fd::noise_kernels(isa));
    return z;
  }
};

struct Made {
  Floats m, next, scaled;
  bool operator==(const Made& other) const {
    return m == other.m && next == other.next && scaled == other.scaled;
  }
};

// eager.py's order, one element at a time. T: float, as the kernels do it, or double.
template <class T>
struct Plain {
  std::vector<T> m, next, scaled;

  Plain(const Sample& s, bool guided, bool masked, fd::Isa isa) {
    const Floats z = s.normal(s.step, 1, isa), eps = s.normal(0, 0, isa);
    const auto w = [&s](std::size_t column) { return static_cast<T>(s.row[column]); };
    for (std::size_t e = 0; e < s.count; ++e) {
      T here = s.m[0][e];
      const T x = s.x[0][e];
      if (guided) {
        const T u = s.uncond[e];
        const T m_guided = u + T{s.guidance} * (here - u);
        here = m_guided * T{s.factor};
      }
      const auto x0 = [&] {
        const T a = w(fd::kColumnX0FromX) * x + w(fd::kColumnX0FromM) * here;
        return std::min(std::max(a, w(fd::kColumnX0Lo)), w(fd::kColumnX0Hi));
      };
      if (s.row[fd::kColumnClampM] != 0) {
        here = (x0() - w(fd::kColumnX0FromX) * x) / w(fd::kColumnX0FromM);
      }
      T sum = w(fd::kColumnX) * x + w(fd::kColumnM) * here;
      for (std::size_t back = 1; back < fd::kHistory; ++back) {
        sum = sum + w(fd::kColumnX + back) * T{s.x[back][e]};
      }
      for (std::size_t back = 1; back < fd::kHistory; ++back) {
        sum = sum + w(fd::kColumnM + back) * T{s.m[back][e]};
      }
      if (s.row[fd::kColumnX0] != 0) sum = sum + w(fd::kColumnX0) * x0();
      if (s.row[fd::kColumnNoise] != 0) sum = sum + w(fd::kColumnNoise) * T{z[e]};
      if (masked) {
        const T known = T{s.alpha} * T{s.image[e]} + T{s.sigma} * T{eps[e]};
        const T mask = s.mask[e % s.plane];
        sum = mask * sum + (T{1} - mask) * known;
      }
      m.push_back(here);
      next.push_back(sum);
      scaled.push_back(T{s.in_scale} * sum);
    }
  }
};

Made run(const Sample& s, bool guided, bool masked, fd::Isa isa,
         const std::vector<std::size_t>& cuts) {
  Made made{s.m[0], Floats(s.count, 777.0f), Floats(s.count, 777.0f)};
  const fd::RowWeights weights = fd::row_weights(s.row.data());
  fd::SampleUpdate update;
  update.row = &weights;
  update.seed = s.seed;
  update.step = s.step;
  for (int back = 0; back < fd::kHistory; ++back) {
    update.x[back] = s.x[back].data();
    update.older_m[back] = back == 0 ? nullptr : s.m[back].data();
  }
  update.m = made.m.data();
  if (guided) {
    update.uncond = s.uncond.data();
    update.guidance = s.guidance;
    update.factor = s.factor;
  }
  if (masked) update.kept = {s.mask.data(), s.image.data(), s.plane, s.alpha, s.sigma};
  update.out = made.next.data();
  update.scaled = made.scaled.data();
  update.in_scale = s.in_scale;
  std::size_t begin = 0;
  for (std::size_t cut : cuts) {
    const std::size_t end = std::min(cut, s.count);
    fd::update(update, begin, end, isa);
    begin = end;
  }
  fd::update(update, begin, s.count, isa);
  return made;
}

double textbook_deviation(const std::vector<double>& values) {
  double mean = 0, squares = 0;
  for (double value : values) mean += value / static_cast<double>(values.size());
  for (double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

}  // namespace

TEST(every_isa_gives_the_bits_of_plain_float32) {
  for (fd::Isa isa : fd::available_isas()) {
    for (std::size_t count : kSizes) {
      for (unsigned bits = 0; bits < 16; ++bits) {
        Sample s(count, bits);
        s.factor = bits % 3 == 0 ? 0.83f : 1.0f;
        const bool guided = bits % 2 == 0, masked = bits / 2 % 2 == 0;
        const Plain<float> plain(s, guided, masked, isa);
        const Made expected{plain.m, plain.next, plain.scaled};
        CHECK(run(s, guided, masked, isa, {}) == expected);
        CHECK(run(s, guided, masked, isa, {4}) == expected);
        CHECK(run(s, guided, masked, isa, {64, 128, 500, 512}) == expected);
      }
    }
  }
}

TEST(the_error_against_float64_is_that_of_a_dozen_roundings) {
  double worst = 0;
  for (fd::Isa isa : fd::available_isas()) {
    for (unsigned bits = 0; bits < 16; ++bits) {
      const Sample s(3072, bits);
      const Made made = run(s, true, true, isa, {});
      const Plain<double> expected(s, true, true, isa);
      double squares = 0;
      for (std::size_t e = 0; e < s.count; ++e) {
        const double error = made.next[e] - expected.next[e];
        worst = std::max(worst, std::abs(error));
        squares += error * error;
      }
      // Values of 10 at most on the way, each good to 2^-24 of itself: 6e-7 a rounding.
      CHECK(std::sqrt(squares / 3072) <= 1e-6);
    }
  }
  std::printf("largest error %.2g\n", worst);
  CHECK(worst <= 7e-6);
}

TEST(the_reference_says_the_same) {
  for (unsigned bits = 0; bits < 16; ++bits) {
    const Sample s(147, bits);
    const fd::Isa isa = fd::active_isa();
    const Plain<double> expected(s, false, false, isa);
    const Floats z = s.normal(s.step, 1, isa);
    for (std::size_t e = 0; e < s.count; ++e) {
      double x[fd::kHistory], m[fd::kHistory];
      for (int back = 0; back < fd::kHistory; ++back) {
        x[back] = s.x[back][e];
        m[back] = s.m[back][e];
      }
      const double next = fd::reference_update(s.row.data(), x, m, z[e]);
      CHECK(std::abs(next - expected.next[e]) < 1e-13);
      CHECK(std::abs(m[0] - expected.m[e]) < 1e-13);
    }
  }
}

TEST(histories_that_are_not_there_are_not_read) {
  Sample s(100, 0);
  for (std::size_t back = 1; back < fd::kHistory; ++back) {
    s.row[fd::kColumnX + back] = s.row[fd::kColumnM + back] = 0;
  }
  const fd::RowWeights weights = fd::row_weights(s.row.data());
  for (fd::Isa isa : fd::available_isas()) {
    const Made expected = run(s, false, false, isa, {});
    Floats m = s.m[0], next(s.count);
    fd::SampleUpdate update;
    update.row = &weights;
    update.seed = s.seed;
    update.step = s.step;
    update.x[0] = s.x[0].data();
    update.m = m.data();
    update.out = next.data();
    fd::update(update, 0, s.count, isa);
    CHECK(next == expected.next);
    CHECK(m == expected.m);
  }
}

TEST(what_has_no_weight_does_not_get_in_and_nan_does_not_vanish) {
  for (fd::Isa isa : fd::available_isas()) {
    Sample s(40, 1 + 4);
    s.row[fd::kColumnX0] = 0;
    s.row[fd::kColumnX0FromM] = HUGE_VAL;  // an x0 that is infinite throughout
    s.row[fd::kColumnX0Lo] = -HUGE_VAL;
    s.row[fd::kColumnX0Hi] = HUGE_VAL;
    for (float value : run(s, false, false, isa, {}).next) CHECK(std::isfinite(value));
    s = Sample(40, 1 + 4);
    s.row[fd::kColumnX0] = 0.5;
    s.m[0][3] = std::numeric_limits<float>::quiet_NaN();
    const Floats next = run(s, false, false, isa, {}).next;
    Floats x0(s.count);
    fd::predicted_x0(fd::row_weights(s.row.data()), s.x[0].data(), s.m[0].data(), x0.data(),
                     s.count, isa);
    for (std::size_t e = 0; e < s.count; ++e) {
      CHECK_EQUAL(std::isnan(next[e]), e == 3);
      CHECK_EQUAL(std::isnan(x0[e]), e == 3);
      if (e != 3) {
        const double expected = fd::reference_x0(s.row.data(), s.x[0][e], s.m[0][e]);
        CHECK(std::abs(x0[e] - expected) < 5e-7);
      }
    }
  }
}

TEST(starts) {
  for (fd::Isa isa : fd::available_isas()) {
    for (std::size_t count : kSizes) {
      const Sample s(count, 0);
      const Floats eps = s.normal(0, 0, isa);
      for (int kind = 0; kind < 6; ++kind) {
        Floats out(count), scaled(count);
        fd::SampleStart start;
        start.seed = s.seed;
        start.init_scale = 3.5f;
        start.out = out.data();
        start.scaled = scaled.data();
        start.in_scale = s.in_scale;
        if (kind % 3 == 1) start.x_T = s.x[0].data();
        if (kind % 3 == 2) start.image = s.image.data();
        start.alpha = 0.25f;
        start.sigma = 0.5f;
        const bool last = kind == 5;  // the image itself
        if (kind >= 3) {
          start.kept = {s.mask.data(), s.image.data(), s.plane, last ? 1.0f : s.alpha,
                        last ? 0.0f : s.sigma};
        }
        fd::start(start, 0, count / 8 * 4, isa);
        fd::start(start, count / 8 * 4, count, isa);
        for (std::size_t e = 0; e < count; ++e) {
          float expected = 3.5f * eps[e];
          if (kind % 3 == 1) expected = s.x[0][e];
          if (kind % 3 == 2) expected = 0.25f * s.image[e] + 0.5f * eps[e];
          if (kind >= 3) {
            const float mask = s.mask[e % s.plane];
            const float known = last ? s.image[e] : s.alpha * s.image[e] + s.sigma * eps[e];
            expected = mask * expected + (1 - mask) * known;
          }
          CHECK_EQUAL(out[e], expected);
          CHECK_EQUAL(scaled[e], s.in_scale * expected);
        }
      }
    }
  }
}

TEST(guidance_factor_is_that_of_the_deviations) {
  for (std::size_t count : {2u, 3u, 7u, 8u, 9u, 100u, 3072u}) {
    const float g = 4.0f, phi = 0.7f;
    Floats u = random_array(count), c = random_array(count);
    for (float offset : {0.0f, 1000.0f}) {
      for (float& value : u) value += offset;
      for (float& value : c) value += offset;
      std::vector<double> cond(c.begin(), c.end()), guided;
      for (std::size_t e = 0; e < count; ++e) guided.push_back(u[e] + g * (c[e] - u[e]));
      const double expected =
          1 + double{phi} * (textbook_deviation(cond) / textbook_deviation(guided) - 1);
      CHECK(std::abs(fd::guidance_factor(u.data(), c.data(), g, phi, count) - expected) < 4e-7);
    }
  }
}

TEST(guidance_factor_without_deviation_or_phi_is_one) {
  const Floats constant(50, 0.1f), other = random_array(50);
  CHECK_EQUAL(fd::guidance_factor(constant.data(), constant.data(), 3, 0.5f, 50), 1.0f);
  CHECK_EQUAL(fd::guidance_factor(other.data(), constant.data(), 3, 0, 50), 1.0f);
  CHECK_EQUAL(fd::guidance_factor(other.data(), other.data() + 1, 3, 0.5f, 1), 1.0f);
  CHECK_EQUAL(fd::guidance_factor(nullptr, nullptr, 3, 0.5f, 0), 1.0f);
  // The conditional output alone, guided by 1, keeps its deviation.
  CHECK_EQUAL(fd::guidance_factor(other.data(), other.data(), 1, 0.5f, 50), 1.0f);
}

TEST(weights_are_rounded_once) {
  const std::vector<double> row = random_row(0);
  const fd::RowWeights weights = fd::row_weights(row.data());
  CHECK_EQUAL(weights.in_scale, static_cast<float>(row[1]));
  CHECK_EQUAL(weights.m[0], static_cast<float>(row[2]));
  CHECK_EQUAL(weights.x[0], static_cast<float>(row[6]));
  CHECK_EQUAL(weights.x[3], static_cast<float>(row[9]));
  CHECK_EQUAL(weights.x0, static_cast<float>(row[10]));
  CHECK_EQUAL(weights.x0_hi, 0.75f);
  CHECK(weights.clamp_m);
  CHECK_EQUAL(weights.noise, static_cast<float>(row[16]));
  CHECK_EQUAL(weights.sigma, static_cast<float>(row[18]));
  std::vector<double> open = row;
  open[fd::kColumnX0Hi] = HUGE_VAL;
  CHECK_EQUAL(fd::row_weights(open.data()).x0_hi, kInfinity);
}

TEST(wrong_ranges_are_named_and_empty_ones_do_nothing) {
  const Sample s(20, 0);
  CHECK_THROWS(fd::InvalidArgument, "begin: expected a multiple of 4, got 2",
               run(s, false, false, fd::active_isa(), {2}));
  const fd::RowWeights weights = fd::row_weights(s.row.data());
  fd::SampleUpdate update;
  update.row = &weights;
  fd::update(update, 8, 8, fd::active_isa());
  fd::start(fd::SampleStart{}, 0, 0, fd::active_isa());
}

TEST_MAIN
