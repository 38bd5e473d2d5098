// What test_conv.cpp and test_winograd.cpp share: a random convolution with its operands, run by a
// Conv with guards around everything, and its error against cpu/reference/conv.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/conv.h"
#include "cpu/dispatch.h"
#include "cpu/reference/conv.h"

namespace conv_cases {

inline fd::ConvShape square(int in, int out, int size, int kernel, int padding, int stride = 1,
                            int dilation = 1, int groups = 1) {
  fd::ConvShape s;
  s.in_channels = in;
  s.out_channels = out;
  s.groups = groups;
  s.kernel_y = s.kernel_x = kernel;
  s.stride_y = s.stride_x = stride;
  s.padding_y = s.padding_x = padding;
  s.dilation_y = s.dilation_x = dilation;
  s.height = s.width = size;
  s.out_height = s.out_width = (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
  return s;
}

inline fd::ConvShape transposed(int in, int out, int size, int kernel, int stride, int padding = 0,
                                int output_padding = 0, int dilation = 1, int groups = 1) {
  fd::ConvShape s = square(in, out, size, kernel, padding, stride, dilation, groups);
  s.transposed = true;
  s.out_height = s.out_width =
      (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding;
  return s;
}

inline std::string text(const fd::ConvShape& s) {
  return std::to_string(s.in_channels) + "->" + std::to_string(s.out_channels) + " /" +
         std::to_string(s.groups) + " kernel " + std::to_string(s.kernel_y) + "x" +
         std::to_string(s.kernel_x) + " stride " + std::to_string(s.stride_y) + " padding " +
         std::to_string(s.padding_y) + " dilation " + std::to_string(s.dilation_y) +
         (s.transposed ? " transposed " : " ") + std::to_string(s.height) + "x" +
         std::to_string(s.width);
}

// Root mean square and largest difference from the reference, and the outputs' own rms.
struct Error {
  double rms = 0, largest = 0, scale = 0;
};

inline Error error_of(const std::vector<float>& got, const std::vector<double>& expected) {
  Error error;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(double{got[i]} - expected[i]);
    if (!(difference < HUGE_VAL)) return {HUGE_VAL, HUGE_VAL, 1};  // nan
    error.rms += difference * difference;
    error.largest = std::max(error.largest, difference);
    error.scale += expected[i] * expected[i];
  }
  const double n = std::max<double>(1, static_cast<double>(got.size()));
  error.rms = std::sqrt(error.rms / n);
  error.scale = std::sqrt(error.scale / n);
  return error;
}

class Case {
 public:
  fd::ConvShape shape;
  int samples;
  std::vector<float> weight, bias, input;
  fd::ConstImage in;
  fd::Image out;  // strides only
  fd::Epilogue epilogue;

  // `gap` channels lie between the pixels of input and output, as in a concatenation.
  Case(const fd::ConvShape& s, int n, int gap = 0, bool with_bias = true)
      : shape(s), samples(n), random_(static_cast<unsigned>(s.in_channels * 131 + s.height)) {
    const int fan_in = s.in_channels / s.groups * s.kernel_y * s.kernel_x;
    weight = normals(static_cast<std::size_t>(s.out_channels) *
                         static_cast<std::size_t>(s.in_channels / s.groups) *
                         static_cast<std::size_t>(s.kernel_y * s.kernel_x),
                     1 / std::sqrt(static_cast<float>(fan_in)));
    if (with_bias) bias = normals(static_cast<std::size_t>(s.out_channels), 1);
    in = {nullptr, 0, 0, s.in_channels + gap};
    in.row = in.pixel * s.width;
    in.sample = in.row * s.height;
    input = normals(static_cast<std::size_t>(in.sample * n), 1);
    in.data = input.data();
    out = {nullptr, 0, 0, s.out_channels + gap};
    out.row = out.pixel * (s.out_width / s.pool_x);
    out.sample = out.row * (s.out_height / s.pool_y);
  }
  Case(const Case&) = delete;

  std::vector<float> normals(std::size_t count, float scale) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = scale * normal(random_);
    return values;
  }

  void then(fd::Unary function) {
    fd::EpilogueStep& step = epilogue.steps[epilogue.count++];
    step.kind = fd::EpilogueStep::unary;
    step.function = function;
  }
  // An operand with a value for each sample, row and column, and channel, as asked.
  void then(fd::EpilogueStep::Kind kind, bool per_sample, bool per_pixel, bool per_channel) {
    fd::EpilogueStep& step = epilogue.steps[epilogue.count++];
    step.kind = kind;
    const int channels = per_channel ? shape.out_channels : 1;
    const int width = per_pixel ? shape.out_width : 1, height = per_pixel ? shape.out_height : 1;
    fd::Operand& operand = step.operand;
    operand.channel = per_channel ? 1 : 0;
    operand.pixel = per_pixel ? channels : 0;
    operand.row = per_pixel ? channels * width : 0;
    operand.sample = per_sample ? channels * width * height : 0;
    operands_.push_back(normals(
        static_cast<std::size_t>(channels * width * height * (per_sample ? samples : 1)), 1));
    operand.data = operands_.back().data();
  }

  std::unique_ptr<fd::Conv> make(fd::ConvAlgorithm algorithm, fd::Isa isa,
                                 fd::Precision precision = fd::Precision::float32) const {
    return fd::Conv::make(shape, algorithm, precision, isa, weight.data(),
                          bias.empty() ? nullptr : bias.data());
  }

  // The output, dense. What lies between its pixels must stay as it was.
  std::vector<float> run(const fd::Conv& conv, int parts = 1, bool split_channels = false,
                         int block = 0) const {
    constexpr float untouched = 777;
    std::vector<float> image(static_cast<std::size_t>(out.sample * samples), untouched);
    const std::size_t floats = conv.scratch_floats(samples, block);
    float* const scratch = static_cast<float*>(std::aligned_alloc(64, (floats / 16 + 2) * 64));
    std::fill_n(scratch, floats, std::nanf(""));
    std::fill_n(scratch + floats, 16, untouched);
    fd::ConvCall call;
    call.samples = samples;
    call.in = in;
    call.out = out;
    call.out.data = image.data();
    call.epilogue = epilogue.count ? &epilogue : nullptr;
    call.split_channels = split_channels;
    call.block = block;
    call.scratch = scratch;
    for (int part = parts - 1; part >= 0; --part) {
      call.share = {part, parts};
      conv.run(call);
    }
    for (int i = 0; i < 16; ++i) CHECK(scratch[floats + static_cast<std::size_t>(i)] == untouched);
    std::free(scratch);
    std::vector<float> dense;
    for (std::size_t i = 0; i < image.size(); ++i) {
      if (static_cast<std::ptrdiff_t>(i) % out.pixel < shape.out_channels) {
        dense.push_back(image[i]);
      } else {
        CHECK(image[i] == untouched);
      }
    }
    return dense;
  }

  std::vector<double> expected() const {
    return fd::conv_reference(shape, samples, in, weight.data(),
                              bias.empty() ? nullptr : bias.data(), &epilogue);
  }

 private:
  std::mt19937 random_;
  std::vector<std::vector<float>> operands_;
};

// The same bits for every number of parts, way of sharing and block.
inline void check_shares(const Case& c, const fd::Conv& conv, const std::vector<float>& whole) {
  for (bool split_channels : {false, true}) {
    for (int parts : {1, 2, 3, 5}) {
      for (int block : {0, 1, 7, 40}) {
        CHECK(c.run(conv, parts, split_channels, block) == whole);
      }
    }
  }
}

inline void report(const Case& c, fd::Isa isa, const Error& error) {
  std::ostringstream what;
  what << fd::isa_name(isa) << ": rms " << error.rms << ", largest " << error.largest
       << ", outputs of " << error.scale;
  check::report(text(c.shape).c_str(), c.samples, what.str());
}

}  // namespace conv_cases
