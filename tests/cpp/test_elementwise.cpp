// unary, binary, copy, truncate, mean and embedding against cpu/reference, on every instruction
// set, over layouts that are dense, transposed, broadcast, cut out of larger ones and empty; in
// place where that is allowed; shared among parts.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "check.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/elementwise.h"
#include "cpu/reference/elementwise.h"
#include "cpu/reference/pool.h"
#include "views.h"

namespace {

using views::Shape;
using views::Tensor;

struct Layout {
  Shape shape;
  std::vector<int> a, b, out;  // orders in memory
  std::ptrdiff_t gap;
  std::vector<bool> b_broadcast;
};

const std::vector<Layout> kLayouts = {
    {{1}, {}, {}, {}, 0, {}},
    {{1, 1}, {}, {}, {}, 0, {}},
    {{3, 17}, {}, {}, {}, 0, {}},
    {{2, 15}, {}, {}, {}, 3, {false, true}},
    {{2, 33}, {}, {}, {}, 0, {true, false}},
    {{2, 1200}, {}, {}, {}, 0, {}},
    {{2, 3, 16, 16}, {}, {}, {0, 2, 3, 1}, 0, {}},  // NCHW to NHWC, a picture
    {{2, 3, 16, 16}, {0, 2, 3, 1}, {}, {}, 0, {}},  // and back
    {{2, 37, 9, 7}, {}, {}, {0, 2, 3, 1}, 0, {}},   // many channels
    {{2, 37, 9, 7}, {0, 2, 3, 1}, {}, {}, 0, {}},
    {{2, 2, 300, 1}, {}, {}, {0, 2, 3, 1}, 5, {}},  // more rows than a block; gaps
    {{2, 16, 5, 6}, {0, 2, 3, 1}, {0, 2, 3, 1}, {0, 2, 3, 1}, 4, {true, false, true, true}},
    {{3, 16, 5, 6}, {0, 2, 3, 1}, {}, {0, 2, 3, 1}, 0, {false, false, true, true}},
    {{2, 5, 6, 7}, {3, 1, 2, 0}, {2, 0, 1, 3}, {1, 0, 3, 2}, 0, {}},
    {{5, 4, 3}, {}, {}, {2, 1, 0}, 0, {true, true, true}},  // the sample innermost
    {{2, 3, 0, 4}, {}, {}, {}, 0, {}},
    {{0, 3}, {}, {}, {}, 0, {}},
    {{2, 2, 2, 2, 2, 2, 2, 2, 2},
     {},
     {8, 7, 6, 5, 4, 3, 2, 1, 0},
     {0, 2, 1, 4, 3, 6, 5, 8, 7},
     0,
     {}},
};

// Runs op(out, share) for 1, 2, 3 and 5 parts, checks that the bits and the gaps are the same each
// time, and leaves the result in `out`.
void run_in_parts(Tensor& out, const std::function<void(Tensor&, fd::Share)>& op) {
  const std::vector<float> before = out.data;
  std::vector<float> first;
  for (int parts : {1, 2, 3, 5}) {
    out.data = before;
    for (int part = parts - 1; part >= 0; --part) op(out, {part, parts});
    if (parts == 1) first = out.data;
    CHECK(views::same_bits(first, out.data));
  }
}

// Every element that the layout has is what `expected` says, within `tolerance` relative; what is
// between them is untouched.
void check_elements(Tensor& out, double tolerance,
                    const std::function<double(const Shape&)>& expected) {
  Tensor seen = out;
  std::fill(seen.data.begin(), seen.data.end(), 0.0f);
  views::for_each_index(out.shape, [&](const Shape& index) {
    const double y = expected(index);
    CHECK(std::abs(double{out.at(index)} - y) <= tolerance * std::abs(y));
    seen.at(index) = 1;
  });
  for (std::size_t i = 0; i < seen.data.size(); ++i) {
    if (seen.data[i] == 0) CHECK_EQUAL(out.data[i], views::kGuard);
  }
}

}  // namespace

TEST(unary_over_layouts) {
  for (fd::Isa isa : fd::available_isas()) {
    for (const Layout& layout : kLayouts) {
      Tensor a(layout.shape, layout.a, layout.gap), out(layout.shape, layout.out, layout.gap);
      views::fill_random(a.data, 1, 0.5f, 3);
      run_in_parts(out, [&](Tensor& to, fd::Share share) {
        fd::unary(fd::Unary::sqrt, static_cast<int>(layout.shape[0]),
                  views::extent_of(layout.shape), a.const_view(), to.view(), share, isa);
      });
      check_elements(out, 6e-8,
                     [&](const Shape& i) { return fd::unary_reference(fd::Unary::sqrt, a.at(i)); });
    }
  }
}

TEST(unary_in_place_and_broadcast) {
  for (fd::Isa isa : fd::available_isas()) {
    for (std::ptrdiff_t n : {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 1000}) {
      for (std::ptrdiff_t gap : {0, 2}) {
        Tensor x({3, n}, {1, 0}, gap);  // not adjacent along n
        views::for_each_index(x.shape, [&](const Shape& i) {
          x.at(i) = static_cast<float>(i[0] - 1) + 0.25f * static_cast<float>(i[1]);
        });
        Tensor before = x;
        fd::unary(fd::Unary::neg, 3, views::extent_of(x.shape), x.const_view(), x.view(), {}, isa);
        check_elements(x, 0, [&](const Shape& i) {
          return fd::unary_reference(fd::Unary::neg, before.at(i));
        });
      }
      Tensor one({2, n}, {}, 0, {true, true}), out({2, n});
      one.data[0] = 2.25f;
      fd::unary(fd::Unary::sqrt, 2, views::extent_of(out.shape), one.const_view(), out.view(), {},
                isa);
      check_elements(out, 0, [](const Shape&) { return 1.5; });
    }
  }
}

TEST(binary_over_layouts) {
  struct {
    fd::Binary kind;
    double tolerance;
  } const ops[] = {
      {fd::Binary::add, 6e-8}, {fd::Binary::sub, 6e-8},   {fd::Binary::mul, 6e-8},
      {fd::Binary::div, 6e-8}, {fd::Binary::pow, 1.2e-7},
  };
  for (fd::Isa isa : fd::available_isas()) {
    for (const Layout& layout : kLayouts) {
      for (const auto& op : ops) {
        Tensor a(layout.shape, layout.a, layout.gap), out(layout.shape, layout.out, layout.gap);
        Tensor b(layout.shape, layout.b, 0, layout.b_broadcast);
        views::fill_random(a.data, 3, 0.5f, 3);
        views::fill_random(b.data, 4, 1, 2.5f);
        const auto exact = [&](double x, double y) { return fd::binary_reference(op.kind, x, y); };
        const auto run = [&](const Tensor& x, const Tensor& y, Tensor& to, fd::Share share) {
          fd::binary(op.kind, static_cast<int>(layout.shape[0]), views::extent_of(layout.shape),
                     x.const_view(), y.const_view(), to.view(), share, isa);
        };
        run_in_parts(out, [&](Tensor& to, fd::Share share) { run(a, b, to, share); });
        check_elements(out, op.tolerance, [&](const Shape& i) { return exact(a.at(i), b.at(i)); });
        run_in_parts(out, [&](Tensor& to, fd::Share share) { run(b, a, to, share); });
        check_elements(out, op.tolerance, [&](const Shape& i) { return exact(b.at(i), a.at(i)); });
        Tensor in_place = a;
        run(in_place, b, in_place, {});
        views::for_each_index(a.shape, [&](const Shape& i) {
          CHECK(std::abs(in_place.at(i) - exact(a.at(i), b.at(i))) <=
                op.tolerance * std::abs(exact(a.at(i), b.at(i))));
        });
        in_place = a;
        run(b, in_place, in_place, {});
        views::for_each_index(a.shape, [&](const Shape& i) {
          CHECK(std::abs(in_place.at(i) - exact(b.at(i), a.at(i))) <=
                op.tolerance * std::abs(exact(b.at(i), a.at(i))));
        });
      }
    }
  }
}

TEST(powers_of_a_constant) {
  Tensor a({1, 37}), two({1, 37}, {}, 0, {true, true}), out({1, 37});
  views::fill_random(a.data, 5, -3, 3);
  for (float power : {2.0f, 3.0f, 0.0f}) {
    two.data[0] = power;
    fd::binary(fd::Binary::pow, 1, views::extent_of(a.shape), a.const_view(), two.const_view(),
               out.view(), {}, fd::Isa::scalar);
    check_elements(out, 1.2e-7, [&](const Shape& i) {
      return fd::binary_reference(fd::Binary::pow, a.at(i), power);
    });
  }
}

TEST(copy_over_layouts) {
  for (fd::Isa isa : fd::available_isas()) {
    for (const Layout& layout : kLayouts) {
      for (bool broadcast : {false, true}) {
        Tensor a(layout.shape, layout.a, layout.gap,
                 broadcast ? layout.b_broadcast : std::vector<bool>{});
        Tensor out(layout.shape, layout.out, layout.gap);
        views::fill_random(a.data, 6, -3, 3);
        run_in_parts(out, [&](Tensor& to, fd::Share share) {
          fd::copy(static_cast<int>(layout.shape[0]), views::extent_of(layout.shape),
                   a.const_view(), to.view(), share, isa);
        });
        check_elements(out, 0, [&](const Shape& i) { return double{a.at(i)}; });
      }
    }
  }
}

TEST(truncate_as_a_cast) {
  for (fd::Isa isa : fd::available_isas()) {
    Tensor a({1, 9}), out({1, 9});
    a.data = {0.0f, 0.99f, -0.99f, 1.0f, -1.5f, 999.75f, -1e6f, 3e9f, -0.0f};
    fd::truncate(1, views::extent_of(a.shape), a.const_view(), out.view(), {}, isa);
    for (std::size_t i = 0; i < a.data.size(); ++i) {
      const auto cast = static_cast<float>(static_cast<std::int64_t>(a.data[i]));
      CHECK(out.data[i] == cast && std::signbit(out.data[i]) == std::signbit(cast));
    }
  }
}

TEST(mean_over_layouts) {
  for (fd::Isa isa : fd::available_isas()) {
    for (const Layout& layout : kLayouts) {
      const int rank = static_cast<int>(layout.shape.size()) - 1;
      for (int reduced = 0; reduced <= rank; ++reduced) {
        Tensor a(layout.shape, layout.a, layout.gap);
        views::fill_random(a.data, 7, 0.5f, 1);
        Tensor out(Shape(layout.shape.begin(), layout.shape.end() - reduced));
        run_in_parts(out, [&](Tensor& to, fd::Share share) {
          fd::mean(static_cast<int>(layout.shape[0]), views::extent_of(layout.shape), reduced,
                   a.const_view(), to.view(), share, isa);
        });
        const Shape inside(layout.shape.end() - reduced, layout.shape.end());
        if (std::count(inside.begin(), inside.end(), 0) > 0) continue;
        const auto expected =
            fd::mean_reference(static_cast<int>(layout.shape[0]), views::extent_of(layout.shape),
                               reduced, a.const_view());
        std::size_t k = 0;
        check_elements(out, 6.1e-8, [&](const Shape&) { return expected[k++]; });
      }
    }
  }
}

TEST(mean_of_many_that_cancel) {
  Tensor a({1, 1 << 20}), out(Shape{1});
  for (std::size_t i = 0; i < a.data.size(); ++i) a.data[i] = i % 2 == 0 ? 1e6f : -1e6f;
  a.data[5] += 1024;
  fd::mean(1, views::extent_of(a.shape), 1, a.const_view(), out.view(), {}, fd::Isa::scalar);
  CHECK_EQUAL(out.data[0], 1024.0f / (1 << 20));
}

TEST(embedding_clamps) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> index = {0, 2, 1.9f, -1, 3, 1e30f, nan, 1};
  for (std::ptrdiff_t width : {1, 5, 16}) {
    std::vector<float> table(static_cast<std::size_t>(3 * width));
    views::fill_random(table, 8, -1, 1);
    Tensor out({2, 4, width}, {}, 0);
    run_in_parts(out, [&](Tensor& to, fd::Share share) {
      fd::EmbeddingCall call;
      call.samples = 2;
      call.count = 4;
      call.rows = 3;
      call.width = width;
      call.table = table.data();
      call.index = index.data();
      call.index_sample = 4;
      call.out = to.data.data();
      call.out_sample = 4 * width;
      call.share = share;
      fd::embedding(call, fd::Isa::scalar);
    });
    const std::ptrdiff_t rows[] = {0, 2, 1, 0, 2, 2, 0, 1};
    check_elements(out, 0, [&](const Shape& i) {
      return double{table[static_cast<std::size_t>(rows[i[0] * 4 + i[1]] * width + i[2])]};
    });
  }
}

TEST(wrong_calls_are_named) {
  Tensor a({1, 2}), out({1, 2});
  fd::Extent extent = views::extent_of(a.shape);
  CHECK_THROWS(fd::InvalidArgument, "reduced: expected 0 to the rank, 1, got 2",
               fd::mean(1, extent, 2, a.const_view(), out.view(), {}, fd::Isa::scalar));
  extent.rank = 9;
  CHECK_THROWS(fd::InvalidArgument, "extent.rank: expected 0 to 8, got 9",
               fd::copy(1, extent, a.const_view(), out.view(), {}, fd::Isa::scalar));
}

TEST_MAIN
