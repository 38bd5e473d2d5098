#include "cpu/conv_winograd_weights.h"

namespace fd {
namespace {

constexpr int kMostPoints = 6, kMostChannels = 32;

// Row p: (1, p, p^2) / prod_{q != p} (p - q) over the points of cpu/simd/winograd_points.h, which
// for F2 takes the row of 0 with the other sign in both B^T and G; the last is infinity.
constexpr double kA = 0.70710678118654752440, kB = 1.4142135623730950488;
constexpr double kG2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
constexpr double kG4[6][3] = {{1, 0, 0},
                              {-2.0 / 3, -2.0 / 3 * kA, -1.0 / 3},
                              {-2.0 / 3, 2.0 / 3 * kA, -1.0 / 3},
                              {1.0 / 6, 1.0 / 6 * kB, 1.0 / 3},
                              {1.0 / 6, -1.0 / 6 * kB, 1.0 / 3},
                              {0, 0, 1}};

// The kernels of one input channel and a panel of output channels, side by side so that the
// compiler's vectors run over output channels.
struct Kernels {
  double g[3][3][kMostChannels];
};

void combine(const double* row, const double* a, const double* b, const double* c, double* to) {
  for (int i = 0; i < kMostChannels; ++i) to[i] = row[0] * a[i] + row[1] * b[i] + row[2] * c[i];
}

}  // namespace

void pack_winograd_weights(const ConvShape& shape, int tile, const ElementLayout& layout, int panel,
                           int lanes, const float* weight, AlignedBytes* to) {
  const int n = tile + 2;
  const auto row = [&](int i) { return tile == 2 ? kG2[i] : kG4[i]; };
  const std::ptrdiff_t out_step = std::ptrdiff_t{shape.in_channels} * 9;
  char* panel_at = static_cast<char*>(to->at(0));
  for (int first = 0; first < shape.out_channels; first += panel) {
    const int channels = std::min(panel, shape.out_channels - first);
    const int width = divide_up(channels, lanes) * lanes;
    const std::ptrdiff_t point_bytes =
        layout.depth(shape.in_channels) * width * static_cast<std::ptrdiff_t>(sizeof(float));
    for (int k = 0; k < shape.in_channels; ++k) {
      Kernels kernels{};
      const float* from = weight + first * out_step + std::ptrdiff_t{k} * 9;
      for (int c = 0; c < channels; ++c) {
        for (int i = 0; i < 9; ++i) kernels.g[i / 3][i % 3][c] = double{from[c * out_step + i]};
      }
      double half[kMostPoints][3][kMostChannels];  // G g
      for (int i = 0; i < n; ++i) {
        for (int j = 0; j < 3; ++j) {
          combine(row(i), kernels.g[0][j], kernels.g[1][j], kernels.g[2][j], half[i][j]);
        }
      }
      for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
          double point[kMostChannels];
          combine(row(j), half[i][0], half[i][1], half[i][2], point);
          layout.put(panel_at + (i * n + j) * point_bytes, width, k, point);
        }
      }
    }
    panel_at += n * n * point_bytes;
  }
}

}  // namespace fd
