#include "cpu/reference/conv.h"

#include <cmath>

namespace fd {
namespace {

// The input coordinate that tap k of output `at` reads, or -1 where there is none.
int source(bool transposed, int at, int k, int stride, int padding, int dilation, int extent) {
  int from;
  if (transposed) {
    const int scaled = at + padding - k * dilation;
    if (scaled % stride != 0) return -1;
    from = scaled / stride;
  } else {
    from = at * stride - padding + k * dilation;
  }
  return from >= 0 && from < extent ? from : -1;
}

}  // namespace

double unary_reference(Unary function, double x) {
  switch (function) {
    case Unary::relu:
      return x > 0 ? x : 0;
    case Unary::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Unary::gelu_tanh: {
      const double inner = std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
      return 0.5 * x * (1 + std::tanh(inner));
    }
    case Unary::silu:
      return x / (1 + std::exp(-x));
    case Unary::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Unary::tanh:
      return std::tanh(x);
    case Unary::exp:
      return std::exp(x);
    case Unary::log:
      return std::log(x);
    case Unary::sin:
      return std::sin(x);
    case Unary::cos:
      return std::cos(x);
    case Unary::sqrt:
      return std::sqrt(x);
    case Unary::rsqrt:
      return 1 / std::sqrt(x);
    case Unary::neg:
      return -x;
    case Unary::abs:
      return std::abs(x);
  }
  return x;
}

double epilogue_reference(const Epilogue& epilogue, double x, std::ptrdiff_t sample,
                          std::ptrdiff_t row, std::ptrdiff_t pixel, std::ptrdiff_t channel) {
  for (int k = 0; k < epilogue.count; ++k) {
    const EpilogueStep& step = epilogue.steps[k];
    if (step.kind == EpilogueStep::unary) {
      x = unary_reference(step.function, x);
      continue;
    }
    const Operand& o = step.operand;
    const double operand =
        double{o.data[sample * o.sample + row * o.row + pixel * o.pixel + channel * o.channel]};
    x = step.kind == EpilogueStep::add ? x + operand : x * operand;
  }
  return x;
}

std::vector<double> conv_reference(const ConvShape& s, int samples, const ConstImage& in,
                                   const float* weight, const float* bias,
                                   const Epilogue* epilogue) {
  const int group_in = s.in_channels / s.groups, group_out = s.out_channels / s.groups;
  std::vector<double> out;
  for (int n = 0; n < samples; ++n) {
    for (int y = 0; y < s.out_height; ++y) {
      for (int x = 0; x < s.out_width; ++x) {
        for (int o = 0; o < s.out_channels; ++o) {
          const int group = o / group_out;
          double sum = bias ? double{bias[o]} : 0;
          for (int ky = 0; ky < s.kernel_y; ++ky) {
            const int iy =
                source(s.transposed, y, ky, s.stride_y, s.padding_y, s.dilation_y, s.height);
            for (int kx = 0; kx < s.kernel_x; ++kx) {
              const int ix =
                  source(s.transposed, x, kx, s.stride_x, s.padding_x, s.dilation_x, s.width);
              if (iy < 0 || ix < 0) continue;
              const float* pixel = in.data + n * in.sample + iy * in.row + ix * in.pixel;
              for (int k = 0; k < group_in; ++k) {
                const int from = group * group_in + k;
                const int major =
                    s.transposed ? from * group_out + o % group_out : o * group_in + k;
                sum += double{pixel[from]} *
                       double{weight[(std::ptrdiff_t{major} * s.kernel_y + ky) * s.kernel_x + kx]};
              }
            }
          }
          out.push_back(epilogue ? epilogue_reference(*epilogue, sum, n, y, x, o) : sum);
        }
      }
    }
  }
  return out;
}

}  // namespace fd
