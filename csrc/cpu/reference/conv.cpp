#include "cpu/reference/conv.h"

#include "cpu/reference/elementwise.h"

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
