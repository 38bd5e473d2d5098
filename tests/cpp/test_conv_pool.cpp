// Convolutions with a pool behind them: the bits of a convolution and then a pool, for every
// algorithm, instruction set and way of sharing.

#include "conv_cases.h"
#include "core/error.h"
#include "core/team.h"
#include "cpu/elementwise.h"
#include "views.h"

using conv_cases::Case;
using conv_cases::square;
using conv_cases::text;
using fd::ConvAlgorithm;
using fd::EpilogueStep;
using fd::Isa;
using fd::PoolKind;
using fd::Precision;

namespace {

fd::ConvShape pooled(fd::ConvShape shape, PoolKind kind, int y, int x) {
  shape.pool = kind;
  shape.pool_y = y, shape.pool_x = x;
  return shape;
}

fd::ConvShape unpooled(const fd::ConvShape& shape) { return pooled(shape, PoolKind::max, 1, 1); }

// `made`, dense, through the shape's pool.
std::vector<float> pool_of(const std::vector<float>& made, const fd::ConvShape& s, int samples,
                           Isa isa) {
  fd::PoolCall call;
  call.kind = s.pool;
  call.samples = samples;
  call.channels = s.out_channels;
  call.height = s.out_height, call.width = s.out_width;
  call.out_height = s.out_height / s.pool_y, call.out_width = s.out_width / s.pool_x;
  call.kernel_y = call.stride_y = s.pool_y;
  call.kernel_x = call.stride_x = s.pool_x;
  const std::ptrdiff_t c = s.out_channels;
  call.in = {made.data(), s.out_height * s.out_width * c, s.out_width * c, c};
  call.out = {nullptr, call.out_height * call.out_width * c, call.out_width * c, c};
  std::vector<float> out(static_cast<std::size_t>(call.out.sample * samples));
  call.out.data = out.data();
  fd::pool(call, isa);
  return out;
}

// `then` adds the epilogue, which a case of the same sizes gets the same of.
template <class Then>
void check_case(const fd::ConvShape& shape, int samples, int gap, const Then& then,
                bool shares = false) {
  Case fused(shape, samples, gap), apart(unpooled(shape), samples, gap);
  then(fused), then(apart);
  for (Isa isa : fd::available_isas()) {
    for (ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::winograd2,
                                    ConvAlgorithm::winograd4, ConvAlgorithm::depthwise}) {
      for (Precision precision : {Precision::float32, Precision::bf16}) {
        const bool three = shape.kernel_y == 3 && shape.kernel_x == 3 && shape.stride_y == 1 &&
                           shape.dilation_y == 1 && shape.groups == 1;
        const bool depthwise =
            shape.groups == shape.in_channels && shape.groups == shape.out_channels;
        if (precision == Precision::bf16 && isa != Isa::avx512_bf16) continue;
        if (algorithm == ConvAlgorithm::depthwise && precision == Precision::bf16) continue;
        if (algorithm == ConvAlgorithm::depthwise && !depthwise) continue;
        if (algorithm != ConvAlgorithm::depthwise && algorithm != ConvAlgorithm::direct && !three) {
          continue;
        }
        const auto conv = fused.make(algorithm, isa, precision);
        const auto before = apart.make(algorithm, isa, precision);
        const std::vector<float> got = fused.run(*conv);
        if (!views::same_bits(got, pool_of(apart.run(*before), shape, samples, isa))) {
          check::report(text(shape).c_str(), samples,
                        std::string(fd::isa_name(isa)) + " " + fd::conv_algorithm_name(algorithm));
        }
        if (shares) check_shares(fused, *conv, got);
      }
    }
  }
}

void nothing(Case&) {}

// Operands of the size before the pool, and of less.
void everything(Case& c) {
  c.then(EpilogueStep::add, true, true, true);
  c.then(fd::Unary::gelu);
  c.then(EpilogueStep::mul, true, false, true);
  c.then(EpilogueStep::add, false, true, false);
}

}  // namespace

TEST(windows_and_sizes) {
  for (PoolKind kind : {PoolKind::max, PoolKind::mean}) {
    check_case(pooled(square(17, 33, 8, 3, 1), kind, 2, 2), 3, 0, nothing);
    check_case(pooled(square(3, 20, 6, 3, 1), kind, 2, 2), 2, 3, nothing);  // tiles over the edge
    check_case(pooled(square(16, 16, 12, 3, 1), kind, 4, 4), 1, 0, nothing);
    check_case(pooled(square(5, 70, 12, 3, 1), kind, 3, 2), 3, 1, nothing);  // windows over tiles
    check_case(pooled(square(8, 8, 8, 3, 1), kind, 8, 8), 2, 0, nothing);    // the whole
    check_case(pooled(square(8, 8, 7, 3, 1), kind, 1, 7), 2, 0, nothing);
    check_case(pooled(square(8, 8, 7, 3, 1), kind, 7, 1), 2, 0, nothing);
  }
}

TEST(kernels_strides_groups) {
  for (PoolKind kind : {PoolKind::max, PoolKind::mean}) {
    check_case(pooled(square(12, 20, 8, 1, 0), kind, 2, 2), 2, 0, nothing);
    check_case(pooled(square(12, 24, 9, 3, 1, 2, 1, 4), kind, 5, 1), 3, 0, nothing);
    check_case(pooled(square(12, 72, 8, 3, 2, 1, 2, 2), kind, 2, 4), 3, 2, nothing, true);
    check_case(pooled(square(18, 18, 8, 3, 1, 1, 1, 18), kind, 2, 2), 3, 1, nothing, true);
  }
}

TEST(epilogues_come_before_the_pool) {
  for (PoolKind kind : {PoolKind::max, PoolKind::mean}) {
    check_case(pooled(square(17, 33, 8, 3, 1), kind, 2, 2), 3, 2, everything, true);
    check_case(pooled(square(9, 9, 6, 3, 1, 1, 1, 9), kind, 2, 3), 2, 0, everything);
  }
}

// Images larger and smaller than what is worked on at a time.
TEST(shares_and_blocks_make_the_same_bits) {
  check_case(pooled(square(4, 130, 24, 3, 1), PoolKind::max, 2, 2), 1, 0, everything, true);
  check_case(pooled(square(3, 40, 4, 3, 1), PoolKind::mean, 2, 2), 23, 0, everything, true);
  check_case(pooled(square(8, 64, 16, 3, 1), PoolKind::max, 4, 2), 5, 0, everything, true);
}

TEST(threads_share_one_image) {
  Case c(pooled(square(20, 70, 16, 3, 1), PoolKind::max, 2, 2), 1);
  everything(c);
  for (Isa isa : fd::available_isas()) {
    for (ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::winograd4}) {
      const auto conv = c.make(algorithm, isa);
      const std::vector<float> alone = c.run(*conv);
      std::vector<float> together(alone.size());
      fd::run_team(3, [&](fd::Team& team) {
        const std::size_t floats = conv->scratch_floats(c.samples, 0) + 16;
        std::vector<float> memory(floats);
        void* aligned = memory.data();
        std::size_t space = floats * sizeof(float);
        fd::ConvCall call;
        call.samples = c.samples;
        call.in = c.in;
        call.out = c.out;
        call.out.data = together.data();
        call.epilogue = &c.epilogue;
        call.share = {team.rank(), team.size()};
        call.scratch = static_cast<float*>(std::align(64, 1, aligned, space));
        conv->run(call);
      });
      CHECK(together == alone);
    }
  }
}

TEST(no_samples_write_nothing) {
  const Case c(pooled(square(4, 4, 6, 3, 1), PoolKind::max, 2, 2), 0);
  for (Isa isa : fd::available_isas()) CHECK(c.run(*c.make(ConvAlgorithm::direct, isa)).empty());
}

TEST(pools_that_do_not_fit_are_named) {
  const std::vector<float> weight(1000);
  const auto make = [&](const fd::ConvShape& s) {
    fd::Conv::make(s, ConvAlgorithm::direct, Precision::float32, Isa::scalar, weight.data(),
                   nullptr);
  };
  CHECK_THROWS(fd::InvalidArgument,
               "pool: expected windows that divide the outputs of a plain convolution, got 2x2 on "
               "7x7",
               make(pooled(square(4, 4, 7, 3, 1), PoolKind::max, 2, 2)));
  CHECK_THROWS(fd::InvalidArgument, "got 2x2 on 8x8, transposed",
               make(pooled(conv_cases::transposed(4, 4, 4, 2, 2), PoolKind::max, 2, 2)));
  CHECK_THROWS(fd::InvalidArgument, "pool: expected a positive number, got 0",
               make(pooled(square(4, 4, 8, 3, 1), PoolKind::max, 0, 2)));
}

TEST_MAIN
