#include "cpu/reference/norm.h"

#include <cmath>

#include "cpu/reference/elementwise.h"

namespace fd {
namespace {

// Pixels, counted row by row, and channels that are normalised together.
struct Together {
  int first_pixel, pixels, first_channel, channels;

  template <class Body>
  void each(Body&& body) const {
    for (int p = first_pixel; p < first_pixel + pixels; ++p) {
      for (int c = first_channel; c < first_channel + channels; ++c) body(p, c);
    }
  }
};

void normalise(const NormCall& call, int s, const Together& together, std::vector<double>& out) {
  const auto x = [&](int p, int c) {
    const ConstImage& in = call.in;
    return double{in.data[s * in.sample + p / call.width * in.row + p % call.width * in.pixel + c]};
  };
  const double count = together.pixels * together.channels;
  double sum = 0, squares = 0;
  together.each([&](int p, int c) { sum += x(p, c); });
  const double mean = sum / count;
  together.each([&](int p, int c) { squares += (x(p, c) - mean) * (x(p, c) - mean); });
  const double deviation = std::sqrt(squares / count + double{call.eps});
  together.each([&](int p, int c) {
    const int row = p / call.width, pixel = p % call.width;
    double y = (x(p, c) - mean) / deviation;
    if (call.gamma.data) y *= operand_reference(call.gamma, s, row, pixel, c);
    if (call.beta.data) y += operand_reference(call.beta, s, row, pixel, c);
    if (call.epilogue) y = epilogue_reference(*call.epilogue, y, s, row, pixel, c);
    const int at = (s * call.height * call.width + p) * call.channels + c;
    out[static_cast<std::size_t>(at)] = y;
  });
}

}  // namespace

std::vector<double> norm_reference(const NormCall& call) {
  const int pixels = call.height * call.width;
  std::vector<double> out(static_cast<std::size_t>(call.samples * pixels * call.channels));
  for (int s = 0; s < call.samples; ++s) {
    for (int p = 0; call.groups == 0 && p < pixels; ++p) {
      normalise(call, s, {p, 1, 0, call.channels}, out);
    }
    for (int g = 0; g < call.groups; ++g) {
      const int size = call.channels / call.groups;
      normalise(call, s, {0, pixels, g * size, size}, out);
    }
  }
  return out;
}

}  // namespace fd
