#include "cpu/conv.h"

#include <string>

#include "core/error.h"
#include "cpu/conv_algorithms.h"

namespace fd {
namespace {

void check_positive(const char* name, int value) {
  if (value < 1) fail_argument(name, "a positive number", std::to_string(value));
}

// The output's extent along one axis, without output padding.
int extent(bool transposed, int in, int kernel, int stride, int padding, int more, int dilation) {
  const int reach = dilation * (kernel - 1) + 1;
  if (transposed) return (in - 1) * stride - 2 * padding + reach;
  const int room = in + 2 * padding + more - reach;
  return room < 0 ? 0 : room / stride + 1;
}

void check_extent(const char* name, const ConvShape& shape, int least, int stride, int dilation,
                  int got) {
  // torch: output_padding is less than the stride or the dilation.
  const int most = shape.transposed ? least + std::max(stride, dilation) - 1 : least;
  if (got >= 1 && got >= least && got <= most) return;
  fail_argument(name, std::to_string(least) + (most > least ? " to " + std::to_string(most) : ""),
                std::to_string(got));
}

void check_conv_shape(const ConvShape& s) {
  check_positive("in_channels", s.in_channels);
  check_positive("out_channels", s.out_channels);
  check_positive("groups", s.groups);
  check_positive("kernel", std::min(s.kernel_y, s.kernel_x));
  check_positive("stride", std::min(s.stride_y, s.stride_x));
  check_positive("dilation", std::min(s.dilation_y, s.dilation_x));
  check_positive("height and width", std::min(s.height, s.width));
  if (std::min(s.padding_y, s.padding_x) < 0) {
    fail_argument("padding", "0 or more", std::to_string(std::min(s.padding_y, s.padding_x)));
  }
  const int at_end = std::min(s.padding_y + s.more_y, s.padding_x + s.more_x);
  if (at_end < 0) fail_argument("padding at the end", "0 or more", std::to_string(at_end));
  if (s.in_channels % s.groups != 0 || s.out_channels % s.groups != 0) {
    fail_argument("groups",
                  "a divisor of the channels, " + std::to_string(s.in_channels) + " in and " +
                      std::to_string(s.out_channels) + " out",
                  std::to_string(s.groups));
  }
  check_extent(
      "out_height", s,
      extent(s.transposed, s.height, s.kernel_y, s.stride_y, s.padding_y, s.more_y, s.dilation_y),
      s.stride_y, s.dilation_y, s.out_height);
  check_extent(
      "out_width", s,
      extent(s.transposed, s.width, s.kernel_x, s.stride_x, s.padding_x, s.more_x, s.dilation_x),
      s.stride_x, s.dilation_x, s.out_width);
  check_positive("pool", std::min(s.pool_y, s.pool_x));
  if (!is_pooled(s)) return;
  if (s.transposed || s.out_height % s.pool_y != 0 || s.out_width % s.pool_x != 0) {
    fail_argument("pool", "windows that divide the outputs of a plain convolution",
                  std::to_string(s.pool_y) + "x" + std::to_string(s.pool_x) + " on " +
                      std::to_string(s.out_height) + "x" + std::to_string(s.out_width) +
                      (s.transposed ? ", transposed" : ""));
  }
}

std::unique_ptr<RegionConv> make_region_conv(const ConvShape& shape, ConvAlgorithm algorithm,
                                             Precision precision, Isa isa, const float* weight,
                                             const float* bias) {
  switch (algorithm) {
    case ConvAlgorithm::direct:
      return make_direct_conv(shape, precision, isa, weight, bias);
    case ConvAlgorithm::winograd2:
      return make_winograd_conv(shape, 2, precision, isa, weight, bias);
    case ConvAlgorithm::winograd4:
      return make_winograd_conv(shape, 4, precision, isa, weight, bias);
    case ConvAlgorithm::depthwise:
      return make_depthwise_conv(shape, isa, weight, bias);
  }
  fail_argument("algorithm", "a member of ConvAlgorithm",
                std::to_string(static_cast<int>(algorithm)));
}

}  // namespace

const char* conv_algorithm_name(ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::direct:
      return "direct";
    case ConvAlgorithm::winograd2:
      return "winograd2";
    case ConvAlgorithm::winograd4:
      return "winograd4";
    case ConvAlgorithm::depthwise:
      return "depthwise";
  }
  return "unknown";
}

bool conv_algorithm_fits(const ConvShape& s, ConvAlgorithm algorithm, Precision precision) {
  switch (algorithm) {
    case ConvAlgorithm::direct:
      return true;
    case ConvAlgorithm::winograd2:
    case ConvAlgorithm::winograd4:
      return !s.transposed && s.groups == 1 && s.kernel_y == 3 && s.kernel_x == 3 &&
             s.stride_y == 1 && s.stride_x == 1 && s.dilation_y == 1 && s.dilation_x == 1;
    case ConvAlgorithm::depthwise:
      return precision == Precision::float32 && !s.transposed && s.groups == s.in_channels &&
             s.groups == s.out_channels;
  }
  return false;
}

std::unique_ptr<Conv> Conv::make(const ConvShape& shape, ConvAlgorithm algorithm,
                                 Precision precision, Isa isa, const float* weight,
                                 const float* bias) {
  check_conv_shape(shape);
  if (precision == Precision::bf16 && isa != Isa::avx512_bf16) {
    fail_argument("precision", "bf16 on avx512_bf16 only", isa_name(isa));
  }
  if (!conv_algorithm_fits(shape, algorithm, precision)) {
    fail_argument("algorithm", "one that can do this convolution", conv_algorithm_name(algorithm));
  }
  auto conv = make_region_conv(shape, algorithm, precision, isa, weight, bias);
  if (!is_pooled(shape)) return conv;
  return make_pooled_conv(shape, isa, std::move(conv));
}

}  // namespace fd
