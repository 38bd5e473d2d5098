// The product of two activations against cpu/reference/matmul.h: sizes around the tile, every
// matrix laid out by rows or by columns, batches, broadcasts, cut-outs, parts.

#include <algorithm>
#include <cmath>

#include "check.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/elementwise.h"
#include "cpu/reference/matmul.h"
#include "views.h"

namespace {

using views::Shape;
using views::Tensor;

void compare(fd::Isa isa, Tensor& a, Tensor& b, Tensor& out) {
  views::fill_random(a.data, 1, -1, 1);
  views::fill_random(b.data, 2, -1, 1);
  const int samples = static_cast<int>(out.shape[0]);
  const fd::Extent extent = views::extent_of(out.shape);
  const std::ptrdiff_t inner = a.shape.back();
  std::vector<float> first;
  for (int parts : {1, 2, 3, 5}) {
    std::fill(out.data.begin(), out.data.end(), views::kGuard);
    for (int part = 0; part < parts; ++part) {
      fd::matmul(samples, extent, inner, a.const_view(), b.const_view(), out.view(), {part, parts},
                 isa);
    }
    if (parts == 1) first = out.data;
    CHECK(views::same_bits(first, out.data));
  }
  // Held against what a plain float32 loop makes of it, the largest and the rms error.
  const auto expected =
      fd::matmul_reference<double>(samples, extent, inner, a.const_view(), b.const_view());
  const auto plain =
      fd::matmul_reference<float>(samples, extent, inner, a.const_view(), b.const_view());
  double worst = 0, squares = 0, plain_worst = 0, plain_squares = 0, largest = 0;
  Tensor seen = out;
  std::fill(seen.data.begin(), seen.data.end(), 0.0f);
  std::size_t e = 0;
  views::for_each_index(out.shape, [&](const Shape& index) {
    const double y = expected[e], plain_error = std::abs(plain[e] - y);
    const double error = std::abs(double{out.at(index)} - y);
    ++e;
    worst = std::max(worst, error);
    largest = std::max(largest, std::abs(y));
    squares += error * error;
    plain_worst = std::max(plain_worst, plain_error);
    plain_squares += plain_error * plain_error;
    seen.at(index) = 1;
  });
  // A few sums may come out exact by luck, so a rounding of the largest is allowed beside.
  CHECK(worst <= 2 * plain_worst + 6e-8 * largest);
  CHECK(seen.data.size() < 100 || squares <= 4 * plain_squares);
  for (std::size_t i = 0; i < seen.data.size(); ++i) {
    CHECK(seen.data[i] == 1 || out.data[i] == views::kGuard);
  }
}

}  // namespace

TEST(sizes_and_layouts) {
  const std::vector<int> by_rows = {0, 1, 2}, by_columns = {0, 2, 1};
  for (fd::Isa isa : fd::available_isas()) {
    for (std::ptrdiff_t m : {1, 3, 4, 5, 37}) {
      for (std::ptrdiff_t n : {1, 7, 8, 9, 16, 31, 33, 70}) {
        for (std::ptrdiff_t k : {0, 1, 5, 130}) {
          for (int kind = 0; kind < 8; ++kind) {
            const std::ptrdiff_t gap = kind % 2 == 0 ? 0 : 3;
            Tensor a({2, m, k}, kind & 1 ? by_columns : by_rows, gap);
            Tensor b({2, k, n}, kind & 2 ? by_columns : by_rows, gap);
            Tensor out({2, m, n}, kind & 4 ? by_columns : by_rows, gap);
            compare(isa, a, b, out);
          }
        }
      }
    }
  }
}

TEST(batches_and_broadcasts) {
  for (fd::Isa isa : fd::available_isas()) {
    Tensor a({3, 2, 5, 6, 11}, {0, 3, 1, 2, 4}), b({3, 2, 5, 11, 9}, {}, 0, {false, true, false}),
        out({3, 2, 5, 6, 9}, {0, 3, 1, 2, 4});
    compare(isa, a, b, out);
    Tensor none({0, 4, 3}), nothing({0, 3, 2}), empty({0, 4, 2});
    compare(isa, none, nothing, empty);
  }
}

TEST(wrong_calls_are_named) {
  Tensor a({1, 2}), out({1, 2});
  CHECK_THROWS(fd::InvalidArgument, "extent.rank: expected 2 to 8, got 1",
               fd::matmul(1, views::extent_of(a.shape), 1, a.const_view(), a.const_view(),
                          out.view(), {}, fd::Isa::scalar));
}

TEST_MAIN
