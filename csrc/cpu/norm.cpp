#include "cpu/norm.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/norm_kernels.h"

namespace fd {
namespace {

constexpr int kLine = 16;   // floats of a cache line: shares of a group norm are no narrower
constexpr int kBlock = 64;  // channels worked on at a time, so that they stay in the cache

void check(const NormCall& call) {
  if (call.groups < 0 || (call.groups > 0 && call.channels % call.groups != 0)) {
    fail_argument("groups", "0 or a divisor of " + std::to_string(call.channels) + " channels",
                  std::to_string(call.groups));
  }
  if (call.share.parts < 1 || call.share.part < 0 || call.share.part >= call.share.parts) {
    fail_argument("share", "0 <= part < parts",
                  std::to_string(call.share.part) + " of " + std::to_string(call.share.parts));
  }
  if (call.in.data == nullptr) fail_argument("in", "a pointer to an image", "null");
  if (call.out.data == nullptr) fail_argument("out", "a pointer to an image", "null");
  if (call.groups > 0 && call.scratch == nullptr) {
    fail_argument("scratch", "a pointer to norm_scratch_floats() values", "null");
  }
}

// Whether an operand has one value a channel.
bool per_channel(const Operand& operand) {
  return operand.data == nullptr || (operand.row == 0 && operand.pixel == 0);
}

float value(const Operand& operand, int sample, int channel, float missing) {
  return operand.data ? operand.data[sample * operand.sample + channel * operand.channel] : missing;
}

// One sample's statistics, a channel an entry, in the call's scratch.
class Statistics {
 public:
  Statistics(const NormCall& call, const NormKernels& kernels)
      : call_(call),
        kernels_(kernels),
        centre_(call.scratch),
        scale_(centre_ + call.channels),
        shift_(scale_ + call.channels),
        size_(call.channels / call.groups),
        n_(static_cast<double>(call.height) * call.width * size_) {}

  // Of the groups of channels first ... last - 1.
  ChannelNorm find(int sample, int first, int last, bool per_element) {
    each_group(
        first, last,
        [&](int c, int count, Sums* out) { kernels_.sums(call_, sample, c, count, out->sums); },
        [&](int group, double sum, double) {
          std::fill_n(centre_ + group * size_, size_, static_cast<float>(sum / n_));
        });
    each_group(
        first, last,
        [&](int c, int count, Sums* out) {
          kernels_.deviations(call_, sample, c, count, centre_, out->sums, out->squares);
        },
        [&](int group, double sum, double squares) {
          const double mean = sum / n_;  // of what the centre leaves
          const double variance = squares / n_ - mean * mean;
          const double scale = 1 / std::sqrt((variance < 0 ? 0 : variance) + call_.eps);
          for (int c = group * size_; c < (group + 1) * size_; ++c) {
            const double gamma = per_element ? 1.0f : value(call_.gamma, sample, c, 1.0f);
            const double beta = per_element ? 0.0f : value(call_.beta, sample, c, 0.0f);
            scale_[c] = static_cast<float>(scale * gamma);
            shift_[c] = static_cast<float>(beta - mean * scale * gamma);
          }
        });
    return {centre_, scale_, shift_};
  }

 private:
  struct Sums {
    double sums[kBlock], squares[kBlock];
  };

  // body(group, sum, squares) for all groups, from what find_sums finds of blocks of channels.
  template <class FindSums, class Body>
  void each_group(int first, int last, FindSums&& find_sums, Body&& body) {
    Sums of = {};
    double sum = 0, squares = 0;
    for (int block = first; block < last; block += kBlock) {
      const int count = std::min(kBlock, last - block);
      find_sums(block, count, &of);
      for (int i = 0; i < count; ++i) {
        sum += of.sums[i];
        squares += of.squares[i];
        if ((block + i + 1) % size_ != 0) continue;
        body((block + i) / size_, sum, squares);
        sum = squares = 0;
      }
    }
  }

  const NormCall& call_;
  const NormKernels& kernels_;
  float *centre_, *scale_, *shift_;
  int size_;  // channels of a group
  double n_;  // elements of a group
};

// Shares are runs of whole groups, at least a cache line wide: every part finds the statistics of
// its own groups, and nothing is found twice. One group is thus one part's work, since another
// could not read what this one may overwrite.
void group_norm(const NormCall& call, const NormKernels& kernels) {
  const bool per_element = !per_channel(call.gamma) || !per_channel(call.beta);
  const int size = call.channels / call.groups;
  const int unit = (kLine + size - 1) / size * size;  // channels
  const int units = (call.channels + unit - 1) / unit;
  const int block = std::max(1, kBlock / unit);  // units
  const std::ptrdiff_t total = std::ptrdiff_t{call.samples} * units;
  const std::ptrdiff_t last = total * (call.share.part + 1) / call.share.parts;
  Statistics statistics(call, kernels);
  for (std::ptrdiff_t u = total * call.share.part / call.share.parts; u < last;) {
    const int sample = static_cast<int>(u / units);
    const int first_unit = static_cast<int>(u % units);
    const int count =
        static_cast<int>(std::min<std::ptrdiff_t>({block, units - first_unit, last - u}));
    const int first = first_unit * unit;
    const int end = std::min(call.channels, (first_unit + count) * unit);
    const ChannelNorm norm = statistics.find(sample, first, end, per_element);
    kernels.apply(call, sample, first, end - first, norm, per_element);
    u += count;
  }
}

void pixel_norm(const NormCall& call, const NormKernels& kernels) {
  const std::ptrdiff_t pixels = std::ptrdiff_t{call.height} * call.width;
  const std::ptrdiff_t total = call.samples * pixels;
  const std::ptrdiff_t last = total * (call.share.part + 1) / call.share.parts;
  for (std::ptrdiff_t p = total * call.share.part / call.share.parts; p < last;) {
    const std::ptrdiff_t count = std::min(pixels - p % pixels, last - p);
    kernels.pixels(call, static_cast<int>(p / pixels), p % pixels, count);
    p += count;
  }
}

}  // namespace

std::size_t norm_scratch_floats(const NormCall& call) {
  return call.groups == 0 ? 0 : 3 * static_cast<std::size_t>(call.channels);
}

void norm(const NormCall& call, Isa isa) {
  if (call.samples <= 0 || call.height <= 0 || call.width <= 0 || call.channels <= 0) return;
  check(call);
  const NormKernels& kernels = FD_KERNELS(isa, kNorm);
  if (call.groups == 0) {
    pixel_norm(call, kernels);
  } else {
    group_norm(call, kernels);
  }
}

}  // namespace fd
