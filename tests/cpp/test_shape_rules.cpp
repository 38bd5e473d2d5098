// Shapes as torch has them: convolutions and pools of random shapes, their outputs taken from torch
// 2.13, and the rest by hand.

#include "check.h"
#include "core/error.h"
#include "ops/shape_rules.h"

namespace {

using fd::Dims;

constexpr std::int64_t B = fd::kBatch;

void same(const char* what, const Dims& got, const Dims& expected) {
  if (got != expected) {
    check::report(what, 0, fd::dims_text(got) + " is not " + fd::dims_text(expected));
  }
}

}  // namespace

TEST(convolutions_have_torchs_shapes) {
  const struct {
    bool transposed;
    Dims x, weight;
    fd::Window window;  // kernel, stride, padding, output_padding, dilation, groups
    Dims out;
  } cases[] = {
      {false,
       {B, 3, 8, 12},
       {6, 1, 2, 2},
       {{1, 1}, {2, 3}, {1, 2}, {0, 0}, {3, 1}, 3},
       {B, 6, 4, 5}},
      {false,
       {B, 3, 14, 6},
       {3, 1, 2, 2},
       {{1, 1}, {3, 2}, {2, 2}, {0, 0}, {2, 2}, 3},
       {B, 3, 6, 4}},
      {false,
       {B, 2, 13, 15},
       {2, 2, 4, 1},
       {{1, 1}, {3, 1}, {0, 2}, {0, 0}, {1, 2}, 1},
       {B, 2, 4, 19}},
      {false,
       {B, 1, 11, 7},
       {1, 1, 4, 4},
       {{1, 1}, {2, 3}, {2, 1}, {0, 0}, {1, 2}, 1},
       {B, 1, 6, 1}},
      {false,
       {B, 6, 10, 13},
       {6, 3, 3, 4},
       {{1, 1}, {3, 2}, {1, 2}, {0, 0}, {2, 3}, 2},
       {B, 6, 3, 4}},
      {false,
       {B, 3, 12, 13},
       {2, 3, 2, 3},
       {{1, 1}, {3, 1}, {1, 2}, {0, 0}, {3, 3}, 1},
       {B, 2, 4, 11}},
      {false,
       {B, 6, 5, 9},
       {4, 3, 1, 2},
       {{1, 1}, {3, 3}, {1, 1}, {0, 0}, {1, 1}, 2},
       {B, 4, 3, 4}},
      {false,
       {B, 3, 16, 4},
       {3, 3, 1, 4},
       {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {2, 1}, 1},
       {B, 3, 18, 3}},
      {false,
       {B, 1, 13, 12},
       {1, 1, 4, 3},
       {{1, 1}, {3, 2}, {2, 0}, {0, 0}, {1, 2}, 1},
       {B, 1, 5, 4}},
      {false,
       {B, 2, 9, 6},
       {2, 2, 1, 2},
       {{1, 1}, {2, 2}, {2, 1}, {0, 0}, {1, 3}, 1},
       {B, 2, 7, 3}},
      {false,
       {B, 3, 16, 12},
       {9, 1, 4, 4},
       {{1, 1}, {2, 3}, {1, 2}, {0, 0}, {3, 3}, 3},
       {B, 9, 5, 3}},
      {false,
       {B, 6, 12, 9},
       {4, 3, 3, 4},
       {{1, 1}, {3, 3}, {2, 0}, {0, 0}, {2, 2}, 2},
       {B, 4, 4, 1}},
      {false,
       {B, 3, 14, 14},
       {3, 1, 1, 4},
       {{1, 1}, {3, 2}, {0, 1}, {0, 0}, {3, 3}, 3},
       {B, 3, 5, 4}},
      {false,
       {B, 6, 13, 4},
       {3, 2, 3, 4},
       {{1, 1}, {2, 3}, {1, 2}, {0, 0}, {3, 2}, 3},
       {B, 3, 5, 1}},
      {true,
       {B, 2, 6, 6},
       {2, 2, 1, 3},
       {{1, 1}, {3, 4}, {1, 2}, {1, 0}, {3, 2}, 1},
       {B, 2, 15, 21}},
      {true, {B, 2, 8, 3}, {2, 3, 4, 1}, {{1, 1}, {1, 2}, {1, 2}, {0, 1}, {1, 3}, 2}, {B, 6, 9, 2}},
      {true,
       {B, 9, 6, 5},
       {9, 2, 1, 3},
       {{1, 1}, {3, 2}, {1, 0}, {2, 0}, {1, 2}, 3},
       {B, 6, 16, 13}},
      {true,
       {B, 6, 4, 8},
       {6, 3, 1, 1},
       {{1, 1}, {2, 3}, {2, 0}, {0, 2}, {2, 2}, 3},
       {B, 9, 3, 24}},
      {true,
       {B, 6, 5, 2},
       {6, 1, 3, 3},
       {{1, 1}, {4, 3}, {2, 1}, {1, 0}, {2, 2}, 3},
       {B, 3, 18, 6}},
      {true,
       {B, 6, 3, 6},
       {6, 1, 4, 4},
       {{1, 1}, {2, 1}, {2, 1}, {1, 2}, {3, 3}, 3},
       {B, 3, 11, 15}},
      {true,
       {B, 1, 2, 3},
       {1, 2, 3, 4},
       {{1, 1}, {1, 4}, {1, 0}, {0, 0}, {1, 1}, 1},
       {B, 2, 2, 12}},
      {true,
       {B, 2, 6, 3},
       {2, 1, 4, 1},
       {{1, 1}, {3, 4}, {2, 1}, {1, 0}, {2, 3}, 2},
       {B, 2, 19, 7}},
      {true,
       {B, 6, 8, 3},
       {6, 1, 4, 2},
       {{1, 1}, {4, 2}, {0, 1}, {0, 1}, {2, 3}, 2},
       {B, 2, 35, 7}},
      {true,
       {B, 3, 8, 4},
       {3, 3, 3, 1},
       {{1, 1}, {1, 4}, {0, 0}, {0, 2}, {2, 1}, 3},
       {B, 9, 12, 15}},
      {true,
       {B, 3, 6, 7},
       {3, 2, 1, 1},
       {{1, 1}, {3, 2}, {0, 0}, {1, 2}, {1, 3}, 1},
       {B, 2, 17, 15}},
      {true,
       {B, 9, 9, 4},
       {9, 3, 4, 3},
       {{1, 1}, {4, 1}, {1, 2}, {0, 1}, {1, 2}, 3},
       {B, 9, 34, 5}},
      {true,
       {B, 9, 4, 6},
       {9, 1, 4, 2},
       {{1, 1}, {2, 1}, {1, 2}, {1, 2}, {2, 3}, 3},
       {B, 3, 12, 7}},
      {true,
       {B, 9, 6, 5},
       {9, 3, 2, 2},
       {{1, 1}, {3, 2}, {2, 2}, {1, 2}, {2, 3}, 3},
       {B, 9, 15, 10}},
  };
  // As of torch's convolution on images with zeros around them.
  fd::Window uneven{{1, 1}, {2, 1}, {0, 2}, {0, 0}, {1, 1}, 1, {1, -2}};
  same("uneven padding", fd::conv2d_dims({B, 3, 8, 6}, {4, 3, 3, 3}, nullptr, uneven),
       {B, 4, 4, 6});
  for (const auto& c : cases) {
    if (c.transposed) {
      same("transposed", fd::conv_transpose2d_dims(c.x, c.weight, nullptr, c.window), c.out);
    } else {
      same("convolution", fd::conv2d_dims(c.x, c.weight, nullptr, c.window), c.out);
    }
  }
}

TEST(pools_have_torchs_shapes) {
  const struct {
    Dims x;
    fd::Window window;
    Dims out;
  } cases[] = {
      {{B, 3, 6, 13}, {{3, 1}, {2, 2}, {1, 0}, {0, 0}, {1, 1}, 1}, {B, 3, 3, 7}},
      {{B, 3, 15, 11}, {{3, 2}, {2, 2}, {0, 1}, {0, 0}, {1, 1}, 1}, {B, 3, 7, 6}},
      {{B, 3, 11, 15}, {{5, 2}, {2, 3}, {2, 0}, {0, 0}, {1, 1}, 1}, {B, 3, 6, 5}},
      {{B, 3, 7, 14}, {{1, 4}, {3, 1}, {0, 0}, {0, 0}, {1, 1}, 1}, {B, 3, 3, 11}},
      {{B, 3, 6, 6}, {{1, 2}, {2, 1}, {0, 1}, {0, 0}, {1, 1}, 1}, {B, 3, 3, 7}},
      {{B, 3, 6, 10}, {{5, 1}, {2, 1}, {0, 0}, {0, 0}, {1, 1}, 1}, {B, 3, 1, 10}},
      {{B, 3, 4, 9}, {{1, 1}, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1}, {B, 3, 4, 9}},
      {{B, 3, 4, 9}, {{4, 5}, {3, 3}, {1, 0}, {0, 0}, {1, 1}, 1}, {B, 3, 1, 2}},
      {{B, 3, 14, 13}, {{3, 4}, {2, 2}, {0, 0}, {0, 0}, {1, 1}, 1}, {B, 3, 6, 5}},
      {{B, 3, 8, 5}, {{4, 4}, {1, 3}, {1, 0}, {0, 0}, {1, 1}, 1}, {B, 3, 7, 1}},
  };
  for (const auto& c : cases) same("pool", fd::pool_dims(c.x, c.window), c.out);
}

TEST(pools_behind_convolutions_divide_what_they_pool) {
  const int none[] = {1, 1}, window[] = {2, 3}, row[] = {1, 3}, absurd[] = {1, 65537};
  same("none", fd::tiled_pool_dims({B, 7}, none), {B, 7});
  same("pool", fd::tiled_pool_dims({B, 5, 8, 9}, window), {B, 5, 4, 3});
  same("pool", fd::tiled_pool_dims({B, 5, 7, 9}, row), {B, 5, 7, 3});
  CHECK_THROWS(fd::InvalidArgument, "pool: expected a divisor of 7, got 2",
               fd::tiled_pool_dims({B, 5, 7, 9}, window));
  CHECK_THROWS(fd::InvalidArgument, "x: expected images", fd::tiled_pool_dims({B, 6}, window));
  CHECK_THROWS(fd::InvalidArgument, "pool: expected from 1 to 65536, got 65537",
               fd::tiled_pool_dims({B, 1, 1, 65537}, absurd));
  // As large as can be before the pool, however small behind it.
  CHECK_THROWS(fd::InvalidArgument, "what is pooled: expected at most 2^28 elements a sample",
               fd::tiled_pool_dims({B, fd::kMaxElements, 2, 3}, window));
}

TEST(the_batch_is_a_dimension_like_no_other) {
  same("binary", fd::binary_dims({B, 4, 1, 1}, {4, 8, 6}), {B, 4, 8, 6});
  same("binary", fd::binary_dims({B, 1}, {5}), {B, 5});
  same("binary", fd::binary_dims({1, 3}, {B, 1}), {B, 3});
  same("binary", fd::binary_dims({}, {B}), {B});
  CHECK_THROWS(fd::InvalidArgument, "b: expected", fd::binary_dims({B}, {B, 3}));
  CHECK_THROWS(fd::InvalidArgument, "b: expected", fd::binary_dims({B}, {5, 1}));
  CHECK_THROWS(fd::InvalidArgument, "b: expected", fd::binary_dims({B, 3}, {2, 3}));
  same("matmul", fd::matmul_dims({B, 7}, {7, 3}), {B, 3});
  same("matmul", fd::matmul_dims({2, 7}, {B, 7, 3}), {B, 2, 3});
  same("matmul", fd::matmul_dims({B, 4, 2, 7}, {4, 7, 3}), {B, 4, 2, 3});
  same("matmul", fd::matmul_dims({B, 1, 2, 7}, {B, 4, 7, 3}), {B, 4, 2, 3});
  CHECK_THROWS(fd::InvalidArgument, "b: expected", fd::matmul_dims({3, 7}, {B, 3}));
  CHECK_THROWS(fd::InvalidArgument, "a: expected", fd::matmul_dims({B, 7}, {B, 7, 3}));
  CHECK_THROWS(fd::InvalidArgument, "a: expected", fd::matmul_dims({B}, {7, 3}));
  CHECK_THROWS(fd::InvalidArgument, "shape: expected", fd::reshape_dims({B, 4}, {4}));
  CHECK_THROWS(fd::InvalidArgument, "dims: expected", fd::permute_dims({B, 4}, {1, 0}));
  CHECK_THROWS(fd::InvalidArgument, "dim: expected", fd::softmax_dims({B, 4}, 0));
  CHECK_THROWS(fd::InvalidArgument, "inputs: expected", fd::concat_dims({{B, 4}, {1, 4}}, 1));
  same("embedding", fd::embedding_dims({9, 4}, {B}), {B, 4});
  same("embedding", fd::embedding_dims({9, 4}, {B, 3}), {B, 3, 4});
  same("attention", fd::attention_dims({B, 2, 5, 8}, {B, 2, 7, 8}, {B, 2, 7, 3}), {B, 2, 5, 3});
  same("linear", fd::linear_dims({B, 5, 3}, {4, 3}, nullptr), {B, 5, 4});
  CHECK_THROWS(fd::InvalidArgument, "x: expected", fd::linear_dims({B}, {4, 1}, nullptr));
}

TEST(what_overflows_elsewhere_is_refused_here) {
  const std::int64_t most = fd::kMaxElements;
  CHECK_EQUAL(fd::count_elements("x", {B, most}), most);
  CHECK_EQUAL(fd::count_elements("x", {}), 1);
  for (const Dims& dims :
       {Dims{B, most + 1}, Dims{most, most, most, most, most}, Dims{2, most}, Dims{B, 0},
        Dims{B, -2}, Dims{3, B}, Dims{INT64_MAX, INT64_MAX}, Dims{1, 1, 1, 1, 1, 1, 1}}) {
    CHECK_THROWS(fd::InvalidArgument, "x: expected", fd::count_elements("x", dims));
  }
  fd::Window window;
  window.stride[0] = fd::kMaxWindow;
  const Dims out = fd::conv_transpose2d_dims({B, 1, most, 1}, {1, 1, 1, 1}, nullptr, window);
  CHECK_EQUAL(out[2], (most - 1) * fd::kMaxWindow + 1);
  CHECK_THROWS(fd::InvalidArgument, "at most 2^28", fd::count_elements("out", out));
  window.stride[0] = fd::kMaxWindow + 1;
  CHECK_THROWS(fd::InvalidArgument, "stride: expected",
               fd::conv2d_dims({B, 1, 1, 1}, {1, 1, 1, 1}, nullptr, window));
}

TEST_MAIN
