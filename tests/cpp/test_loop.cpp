// The sampling loop over a network in closed form, against the loop's sentences written down once
// more: in float32, where all but rescaled guidance must agree bit for bit, and in float64. Every
// feature, thread count and way of cutting asks into blocks; stops, errors, many callers at once.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/noise.h"
#include "cpu/update.h"
#include "sampling/blocks.h"
#include "sampling/loop.h"

namespace {

using Floats = std::vector<float>;

std::mt19937 random_bits(11);

double uniform(double lo, double hi) {
  return std::uniform_real_distribution<double>(lo, hi)(random_bits);
}

Floats random_array(std::size_t count, double lo = -1, double hi = 1) {
  Floats values(count);
  for (float& value : values) value = static_cast<float>(uniform(lo, hi));
  return values;
}

// A network in closed form, pixel by pixel. Smooth, bounded, not affine.
template <class T>
T network(T x, double t, double context) {
  return static_cast<T>(std::tanh(0.7 * static_cast<double>(x) + std::sin(3 * t) + context));
}

// A table of random rows, every column in use as far back as there are rows.
struct Table {
  std::vector<double> rows;
  double init_scale = 1.5;

  Table(std::size_t count, int depth) : rows(count * fd::kColumnCount) {
    for (std::size_t k = 0; k < count; ++k) {
      double* row = rows.data() + k * fd::kColumnCount;
      for (int column = 0; column < fd::kColumnCount; ++column) row[column] = uniform(-0.4, 0.4);
      for (int back = 1; back < fd::kHistory; ++back) {
        if (static_cast<std::size_t>(back) <= k && back < depth) continue;
        row[fd::kColumnX + back] = row[fd::kColumnM + back] = 0;
      }
      row[fd::kColumnInScale] = k % 3 == 1 ? 1 : uniform(0.5, 1.5);
      row[fd::kColumnX0FromM] = uniform(0.5, 1.5);
      row[fd::kColumnX0Lo] = -0.6;
      row[fd::kColumnX0Hi] = 0.7;
      row[fd::kColumnClampM] = k % 2 == 0;
      if (k % 3 == 2) row[fd::kColumnX0] = 0;
      if (k % 4 == 3) row[fd::kColumnNoise] = 0;
    }
  }
  std::size_t count() const { return rows.size() / fd::kColumnCount; }
  fd::TableView view() const { return {rows.data(), count(), init_scale}; }
  double at(std::size_t k, std::size_t column) const { return rows[k * fd::kColumnCount + column]; }
};

// A request with the arrays it borrows.
struct Case {
  enum Feature : unsigned {
    guided = 1,
    rescaled = 2,
    until = 4,
    masked = 8,
    from_image = 16,
    from_x_T = 32,
    all = 64
  };

  fd::LoopShape shape;
  std::size_t n;
  Table table;
  std::vector<std::uint64_t> seeds;
  Floats context, guidance, rescale, x_T, image, mask;
  fd::SampleRequest request;

  Case(fd::LoopShape shape_, std::size_t n_, unsigned features, std::size_t rows = 7, int depth = 4)
      : shape(shape_), n(n_), table(rows, depth) {
    const std::size_t size = n * shape.elements();
    for (std::size_t i = 0; i < n; ++i) seeds.push_back(0x9e3779b97f4a7c15u * (i + 1));
    context = random_array(n, 0.2, 0.6);
    guidance = random_array(n, 1, 4);
    rescale = random_array(n, 0.2, 1);
    if (n > 1) rescale[0] = 0;
    x_T = random_array(size);
    image = random_array(size);
    mask = random_array(n * shape.height * shape.width, 0, 1);
    request.table = table.view();
    request.n = n;
    request.seeds = seeds.data();
    request.context = context.data();
    if (features & (guided | rescaled | until)) request.guidance = guidance.data();
    if (features & rescaled) request.guidance_rescale = rescale.data();
    if (features & until) request.guided_rows = 3;
    if (features & (masked | from_image)) request.image = image.data();
    if (features & masked) request.mask = mask.data();
    request.from_image = (features & from_image) != 0;
    if (features & from_x_T) request.x_T = x_T.data();
  }
  Case(const Case&) = delete;
  std::size_t size() const { return n * shape.elements(); }
};

// The network as the loop asks it. Answers are checked for what the border promises.
class FakeStepper final : public fd::Stepper {
 public:
  FakeStepper(const Case& of, std::size_t most, int workers = 8)
      : case_(of),
        most_(most),
        busy_(new std::atomic<int>[static_cast<std::size_t>(workers)]()),
        workers_(workers) {}

  std::size_t max_asks() const override { return most_; }
  int workers() const override { return workers_; }

  void predict(const fd::Ask* asks, std::size_t count, fd::Team& team, int worker) const override {
    if (count == 0 || count > most_ || worker < 0 || worker >= workers_) ++wrong;
    if (team.size() > 1 && worker != 0) ++wrong;
    std::atomic<int>& here = busy_[static_cast<std::size_t>(worker)];
    if (++here > team.size()) ++wrong;  // two calls in the same memory
    const auto rank = static_cast<std::size_t>(team.rank());
    const auto size = static_cast<std::size_t>(team.size());
    const std::size_t elements = case_.shape.elements();
    for (std::size_t i = 0; i < count; ++i) {
      if (throw_at_row == asks[i].row) {
        --here;
        throw std::runtime_error("a network that fails");
      }
      const double t = case_.table.at(static_cast<std::size_t>(asks[i].row), fd::kColumnTime);
      const double context = asks[i].unconditional ? 0.0 : double{case_.context[asks[i].sample]};
      for (std::size_t e = rank; e < elements; e += size) {
        asks[i].m[e] = network(asks[i].x[e], t, context);
      }
      team.barrier();
    }
    calls += team.rank() == 0 || team.size() == 1;
    --here;
  }

  mutable std::atomic<int> wrong{0}, calls{0};
  int throw_at_row = -1;

 private:
  const Case& case_;
  const std::size_t most_;
  const std::unique_ptr<std::atomic<int>[]> busy_;
  const int workers_;
};

Floats normals(const Case& c, std::uint32_t step, std::uint32_t stream, fd::Isa isa) {
  fd::NoiseRequest request;
  request.seeds = c.seeds.data();
  request.n = c.n;
  request.step = step;
  request.stream = stream;
  request.count = c.shape.elements();
  Floats z(c.size());
  fd::noise_normal(request, z.data(), 1, &fd::noise_kernels(isa));
  return z;
}

template <class T>
double deviation(const T* values, std::size_t count) {
  double mean = 0, squares = 0;
  for (std::size_t e = 0; e < count; ++e) mean += double{values[e]} / static_cast<double>(count);
  for (std::size_t e = 0; e < count; ++e) {
    squares += (double{values[e]} - mean) * (double{values[e]} - mean);
  }
  return std::sqrt(squares / static_cast<double>(count - 1));
}

// backends/base.py's sentences in backends/eager.py's order. T: float or double, weights too.
template <class T>
struct Transcription {
  using Array = std::vector<T>;
  std::vector<Array> x;   // x[k] for every row, mixed; the last is the answer
  std::vector<Array> x0;  // row k's

  Transcription(const Case& c, fd::Isa isa) {
    const fd::SampleRequest& r = c.request;
    const std::size_t size = c.size(), elements = c.shape.elements();
    const std::size_t plane = c.shape.height * c.shape.width, rows = c.table.count();
    const Floats eps = normals(c, 0, 0, isa);
    const auto w = [&c](std::size_t k, std::size_t column) {
      return static_cast<T>(c.table.at(k, column));
    };
    const auto level = [&](std::size_t k, std::size_t i) -> T {
      if (k == rows) return c.image[i];
      return w(k, fd::kColumnAlpha) * T{c.image[i]} + w(k, fd::kColumnSigma) * T{eps[i]};
    };
    const auto mix = [&](std::size_t k, Array& values) {
      for (std::size_t i = 0; r.mask && i < size; ++i) {
        const T mask = c.mask[i / elements * plane + i % plane];
        values[i] = mask * values[i] + (T{1} - mask) * level(k, i);
      }
    };
    Array first(size);
    for (std::size_t i = 0; i < size; ++i) {
      first[i] = r.x_T          ? T{c.x_T[i]}
                 : r.from_image ? level(0, i)
                                : static_cast<T>(c.table.init_scale) * T{eps[i]};
    }
    mix(0, first);
    x.push_back(first);
    std::vector<Array> ms;
    for (std::size_t k = 0; k < rows; ++k) {
      Array m(size), clean(size), next(size);
      const bool guided = r.guidance && k < r.guided_rows;
      for (std::size_t s = 0; s < c.n; ++s) {
        Array cond(elements), mixed(elements);
        for (std::size_t e = 0; e < elements; ++e) {
          const T seen = w(k, fd::kColumnInScale) * x[k][s * elements + e];
          const double t = c.table.at(k, fd::kColumnTime);
          cond[e] = network(seen, t, c.context[s]);
          const T uncond = network(seen, t, 0);
          mixed[e] = guided ? uncond + T{c.guidance[s]} * (cond[e] - uncond) : cond[e];
        }
        T factor = 1;
        if (guided && r.guidance_rescale && c.rescale[s] != 0) {
          const T have = static_cast<T>(deviation(mixed.data(), elements));
          const T wanted = static_cast<T>(deviation(cond.data(), elements));
          if (have > 0) factor = T{1} + T{c.rescale[s]} * (wanted / have - T{1});
        }
        for (std::size_t e = 0; e < elements; ++e) m[s * elements + e] = mixed[e] * factor;
      }
      const Floats z = normals(c, static_cast<std::uint32_t>(k), 1, isa);
      const auto x0_of = [&](std::size_t i) {
        const T a = w(k, fd::kColumnX0FromX) * x[k][i] + w(k, fd::kColumnX0FromM) * m[i];
        return std::min(std::max(a, w(k, fd::kColumnX0Lo)), w(k, fd::kColumnX0Hi));
      };
      for (std::size_t i = 0; i < size; ++i) {
        if (c.table.at(k, fd::kColumnClampM) != 0) {
          m[i] = (x0_of(i) - w(k, fd::kColumnX0FromX) * x[k][i]) / w(k, fd::kColumnX0FromM);
        }
        clean[i] = x0_of(i);
      }
      ms.push_back(m);
      for (std::size_t i = 0; i < size; ++i) {
        T sum = w(k, fd::kColumnX) * x[k][i] + w(k, fd::kColumnM) * m[i];
        for (int array = 0; array < 2; ++array) {
          for (std::size_t back = 1; back < fd::kHistory && back <= k; ++back) {
            const std::size_t column = (array == 0 ? fd::kColumnX : fd::kColumnM) + back;
            sum = sum + w(k, column) * (array == 0 ? x : ms)[k - back][i];
          }
        }
        if (c.table.at(k, fd::kColumnX0) != 0) sum = sum + w(k, fd::kColumnX0) * clean[i];
        if (c.table.at(k, fd::kColumnNoise) != 0) sum = sum + w(k, fd::kColumnNoise) * T{z[i]};
        next[i] = sum;
      }
      mix(k + 1, next);
      x.push_back(next);
      x0.push_back(clean);
    }
  }
};

struct Error {
  double rms = 0, largest = 0;
};

template <class A, class B>
Error error_of(const A& a, const B& b) {
  Error error;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = double{a[i]} - double{b[i]};
    error.rms += difference * difference / static_cast<double>(a.size());
    error.largest = std::max(error.largest, std::abs(difference));
  }
  error.rms = std::sqrt(error.rms);
  return error;
}

Floats sample(const Case& c, const FakeStepper& stepper, int threads,
              fd::Isa isa = fd::active_isa(), std::size_t* rows = nullptr) {
  Floats out(c.size(), 777.0f);
  static fd::LoopMemory memory;  // of one request after another, whatever their shapes
  const std::size_t done =
      fd::run_loop(c.request, c.shape, stepper, threads, isa, memory, out.data());
  if (rows) *rows = done;
  CHECK_EQUAL(stepper.wrong.load(), 0);
  return out;
}

constexpr fd::LoopShape kOdd{3, 5, 7}, kPixel{1, 1, 1}, kUsual{3, 16, 16};

}  // namespace

TEST(every_feature_on_every_isa) {
  for (fd::Isa isa : fd::available_isas()) {
    for (unsigned features = 0; features < Case::all; ++features) {
      const fd::LoopShape shape = features % 5 == 4 ? kUsual : kOdd;
      const Case c(shape, 3, features);
      const FakeStepper stepper(c, 4);
      std::size_t rows = 0;
      const Floats out = sample(c, stepper, 2, isa, &rows);
      CHECK_EQUAL(rows, c.table.count());
      const Transcription<float> plain(c, isa);
      const Error ours = error_of(out, plain.x.back());
      if (c.request.guidance_rescale) {  // deviations may round otherwise
        CHECK(ours.largest < 1e-5);
      } else {
        CHECK_EQUAL(ours.largest, 0.0);
      }
      const Transcription<double> exact(c, isa);
      const Error against = error_of(out, exact.x.back());
      const Error floats = error_of(plain.x.back(), exact.x.back());
      CHECK(against.rms <= 2 * floats.rms && against.largest <= 2 * floats.largest);
    }
  }
}

TEST(sizes_threads_and_blocks_do_not_matter) {
  for (std::size_t n : {1u, 2u, 3u, 9u, 64u}) {
    for (unsigned features : {0u, 1u, 3u, 1u + 4u, 2u + 8u, 16u + 8u}) {
      const Case c(n == 64 ? kUsual : kOdd, n, features);
      const Floats expected = sample(c, FakeStepper(c, 64), 1);
      const Transcription<float> plain(c, fd::active_isa());
      CHECK(error_of(expected, plain.x.back()).largest <= (features & Case::rescaled ? 1e-5 : 0));
      for (int threads : {1, 2, 4}) {
        for (std::size_t most : {1u, 4u, 8u, 64u}) {
          CHECK(sample(c, FakeStepper(c, most), threads) == expected);
        }
      }
    }
  }
}

TEST(a_sample_does_not_depend_on_its_batch) {
  const Case all(kOdd, 5, Case::rescaled | Case::masked);
  const Floats together = sample(all, FakeStepper(all, 3), 2);
  Case one(kOdd, 1, Case::rescaled | Case::masked);
  one.table = all.table;
  one.request.table = one.table.view();
  const std::size_t size = kOdd.elements(), plane = kOdd.height * kOdd.width;
  for (std::size_t s = 0; s < 5; ++s) {
    const auto part = [s](const Floats& of, std::size_t length, Floats& to) {
      std::copy_n(of.begin() + static_cast<std::ptrdiff_t>(s * length), length, to.begin());
    };
    one.seeds[0] = all.seeds[s];
    part(all.context, 1, one.context);
    part(all.guidance, 1, one.guidance);
    part(all.rescale, 1, one.rescale);
    part(all.image, size, one.image);
    part(all.mask, plane, one.mask);
    Floats expected(size);
    part(together, size, expected);
    CHECK(sample(one, FakeStepper(one, 3), 2) == expected);
  }
}

TEST(shallow_tables_and_single_rows) {
  for (std::size_t rows : {1u, 2u, 5u}) {
    for (int depth : {1, 2, 3}) {
      for (const fd::LoopShape& shape : {kPixel, kOdd}) {
        const Case c(shape, 2, Case::guided | Case::masked, rows, depth);
        const Transcription<float> plain(c, fd::active_isa());
        CHECK_EQUAL(error_of(sample(c, FakeStepper(c, 4), 2), plain.x.back()).largest, 0.0);
      }
    }
  }
}

TEST(guidance_without_a_context_asks_once) {
  Case c(kOdd, 4, Case::guided);
  FakeStepper twice(c, 1), once(c, 1);
  sample(c, twice, 1);
  c.request.context = nullptr;
  sample(c, once, 1);
  CHECK_EQUAL(twice.calls.load(), 8 * 7);
  CHECK_EQUAL(once.calls.load(), 4 * 7);
}

TEST(callbacks_see_every_row) {
  for (int threads : {1, 2, 4}) {
    for (int depth : {1, 4}) {
      Case c(kOdd, 3, Case::guided | Case::masked, 6, depth);
      if (depth == 1) {  // a row that does not say how x0 follows
        double* row = c.table.rows.data() + 2 * fd::kColumnCount;
        row[fd::kColumnX0FromX] = row[fd::kColumnX0FromM] = row[fd::kColumnX0] = 0;
        row[fd::kColumnClampM] = 0;
      }
      const Transcription<float> plain(c, fd::active_isa());
      std::size_t rows = 0;
      const auto caller = std::this_thread::get_id();
      c.request.after_row = [&](const fd::RowView& view) {
        CHECK(std::this_thread::get_id() == caller);
        CHECK_EQUAL(view.rows_done(), ++rows);
        const Floats x(view.x(), view.x() + c.size());
        CHECK(x == plain.x[rows]);
        CHECK_EQUAL(view.has_x0(), !(depth == 1 && rows == 3));
        Floats x0(c.size());
        view.x0(x0.data());
        CHECK(x0 == plain.x0[rows - 1]);
        return true;
      };
      CHECK(sample(c, FakeStepper(c, 2), threads) == plain.x.back());
      CHECK_EQUAL(rows, 6u);
    }
  }
}

TEST(stops) {
  for (int threads : {1, 2, 4}) {
    for (std::size_t last : {1u, 3u, 7u}) {
      Case c(kOdd, 3, Case::guided | Case::masked);
      const Transcription<float> plain(c, fd::active_isa());
      c.request.after_row = [last](const fd::RowView& view) { return view.rows_done() != last; };
      std::size_t rows = 0;
      const FakeStepper stepper(c, 8);
      CHECK(sample(c, stepper, threads, fd::active_isa(), &rows) == plain.x[last]);
      CHECK_EQUAL(rows, last);
    }
  }
}

TEST(errors_reach_the_caller) {
  for (int threads : {1, 2, 4}) {
    for (std::size_t n : {1u, 9u}) {
      for (std::size_t row : {1u, 4u, 7u}) {
        Case c(kOdd, n, Case::guided);
        FakeStepper stepper(c, 2);
        const Floats expected = sample(c, stepper, threads);
        c.request.after_row = [row](const fd::RowView& view) {
          if (view.rows_done() == row) throw std::runtime_error("a callback that fails");
          return true;
        };
        CHECK_THROWS(std::runtime_error, "a callback that fails", sample(c, stepper, threads));
        c.request.after_row = nullptr;
        stepper.throw_at_row = static_cast<int>(row) - 1;
        CHECK_THROWS(std::runtime_error, "a network that fails", sample(c, stepper, threads));
        CHECK(sample(c, FakeStepper(c, 2), threads) == expected);
      }
    }
  }
}

TEST(many_callers_at_once) {
  const Case c(kUsual, 3, Case::rescaled | Case::masked, 12);
  const FakeStepper reference(c, 2);
  const Floats expected = sample(c, reference, 1);
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 16; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 4; ++i) {
        const FakeStepper stepper(c, 2);
        Floats out(c.size());
        fd::LoopMemory memory;
        fd::run_loop(c.request, c.shape, stepper, 1 + (caller + i) % 4, fd::active_isa(), memory,
                     out.data());
        good += out == expected && stepper.wrong == 0;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQUAL(good.load(), 16 * 4);
}

TEST(a_long_request_makes_its_team_anew) {
  // Over 20 ms of rows: wherever a team was too small it is given up between two rows, and that
  // must not show. Eight members are hardly ever there at once.
  Case c(kOdd, 2, Case::guided, 40);
  const Floats expected = sample(c, FakeStepper(c, 1), 1);
  c.request.after_row = [](const fd::RowView&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    return true;
  };
  CHECK(sample(c, FakeStepper(c, 1, 64), 64) == expected);
}

TEST(stepper_with_fewer_workers_than_threads) {
  const Case c(kOdd, 9, Case::guided);
  const Floats expected = sample(c, FakeStepper(c, 4), 1);
  CHECK(sample(c, FakeStepper(c, 4, 2), 4) == expected);
  CHECK(sample(c, FakeStepper(c, 4, 1), 4) == expected);
}

TEST(blocks_are_balanced) {
  const auto sizes = [](std::size_t asks, std::size_t members, std::size_t most) {
    const fd::Blocks blocks = fd::balanced_blocks(asks, members, most);
    std::string text;
    for (std::size_t b = 0; b < blocks.count; ++b) {
      text += (b ? " " : "") + std::to_string(blocks.first(b + 1) - blocks.first(b));
    }
    return text;
  };
  CHECK_EQUAL(sizes(9, 2, 8), "4 5");
  CHECK_EQUAL(sizes(9, 2, 64), "4 5");
  CHECK_EQUAL(sizes(9, 1, 64), "9");
  CHECK_EQUAL(sizes(17, 2, 8), "4 4 4 5");
  CHECK_EQUAL(sizes(2, 2, 8), "1 1");
  CHECK_EQUAL(sizes(5, 4, 1), "1 1 1 1 1");
  for (std::size_t asks = 1; asks < 70; ++asks) {
    for (std::size_t members = 1; members < 6; ++members) {
      for (std::size_t most : {1u, 3u, 8u, 64u}) {
        const fd::Blocks blocks = fd::balanced_blocks(asks, members, most);
        CHECK(blocks.first(0) == 0 && blocks.first(blocks.count) == asks);
        for (std::size_t b = 0; b < blocks.count; ++b) {
          const std::size_t size = blocks.first(b + 1) - blocks.first(b);
          CHECK(size >= 1 && size <= most);
        }
      }
    }
  }
}

TEST(bytes_are_those_of_the_arrays) {
  const Table table(7, 4);  // 5 x, 4 m, uncond and scaled
  const std::size_t elements = kUsual.elements(), size = 10 * elements * sizeof(float);
  fd::LoopMemory guided, plain;
  guided.hold(table.view(), 10, elements, true);
  plain.hold(table.view(), 10, elements, false);
  CHECK(guided.bytes() >= 11 * size && guided.bytes() < 11 * size + 10000);
  CHECK(plain.bytes() < guided.bytes() - size);
  guided.hold(table.view(), 1, elements, false);
  CHECK(guided.bytes() >= 11 * size);  // kept
}

TEST(wrong_requests_are_named) {
  Case c(kOdd, 2, 0);
  const FakeStepper stepper(c, 2);
  c.request.mask = c.mask.data();
  CHECK_THROWS(fd::InvalidArgument, "image: expected", sample(c, stepper, 1));
  c.request.mask = nullptr;
  c.request.from_image = true;
  CHECK_THROWS(fd::InvalidArgument, "image: expected", sample(c, stepper, 1));
  c.request.from_image = false;
  CHECK_THROWS(fd::InvalidArgument, "threads: expected", sample(c, stepper, -3));
  c.request.seeds = nullptr;
  CHECK_THROWS(fd::InvalidArgument, "seeds: expected", sample(c, stepper, 1));
  c.request.seeds = c.seeds.data();
  c.request.table.rows = 0;
  CHECK_THROWS(fd::InvalidArgument, "table: expected", sample(c, stepper, 1));
  c.request.n = 0;
  Floats none;
  fd::LoopMemory memory;
  CHECK_EQUAL(fd::run_loop(c.request, c.shape, stepper, 1, fd::active_isa(), memory, none.data()),
              0u);
}

TEST_MAIN
