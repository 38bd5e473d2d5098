#include "cpu/update.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "cpu/dispatch.h"

namespace fd {
namespace {

// Elements worked on at a time: what a row touches of them, at most a dozen arrays, stays in the
// first-level cache from one kernel to the next. A multiple of the noise kernels' group.
constexpr std::size_t kPiece = 512;

// The kernels of one call, and memory for a piece of what is made on the way.
class Pieces {
 public:
  explicit Pieces(Isa isa) : kernels(FD_KERNELS(isa, kUpdate)), noise_(noise_kernels(isa)) {}

  // body(at, count) for every piece of [begin, end).
  template <class Body>
  void each(std::size_t begin, std::size_t end, const Body& body) {
    if (begin >= end) return;
    if (begin % 4 != 0) fail_argument("begin", "a multiple of 4", std::to_string(begin));
    for (std::size_t at = begin; at < end; at += kPiece) body(at, std::min(kPiece, end - at));
  }

  const float* normal(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, std::size_t at,
                      std::size_t count) {
    noise_.normal({seed, step, stream, static_cast<std::uint32_t>(at / 4), count}, normals_);
    return normals_;
  }

  // What every piece of a new x goes through: the kept part, and the scale of the next network.
  void finish(const Kept& kept, std::uint64_t seed, float* x, float* scaled, float in_scale,
              std::size_t at, std::size_t count) {
    if (kept.mask) {
      const float* known = kept.image + at;
      if (kept.alpha != 1 || kept.sigma != 0) {
        const float* eps = normal(seed, 0, kStreamInit, at, count);
        kernels.at_level(known, kept.alpha, eps, kept.sigma, known_, count);
        known = known_;
      }
      kernels.mix(mask(kept, at, count), known, x + at, count);
    }
    if (scaled) kernels.scale(x + at, in_scale, scaled + at, count);
  }

  const UpdateKernels& kernels;

 private:
  // A piece of the mask repeated over the channels: the mask itself, but where a piece is in more
  // than one channel.
  const float* mask(const Kept& kept, std::size_t at, std::size_t count) {
    std::size_t pixel = at % kept.plane;
    if (pixel + count <= kept.plane) return kept.mask + pixel;
    for (std::size_t i = 0; i < count; ++i) {
      mask_[i] = kept.mask[pixel];
      pixel = pixel + 1 == kept.plane ? 0 : pixel + 1;
    }
    return mask_;
  }

  const NoiseKernels& noise_;
  alignas(64) float normals_[kPiece];
  alignas(64) float known_[kPiece];
  alignas(64) float mask_[kPiece];
};

RowSum row_sum(const SampleUpdate& update, std::size_t at, const float* z) {
  const RowWeights& row = *update.row;
  RowSum sum{&row, update.x[0] + at, update.m + at, 0, {}, z};
  const auto add_terms = [&](const float* const* arrays, const float* weights) {
    for (int back = 1; back < kHistory; ++back) {
      if (arrays[back] && weights[back] != 0) {
        sum.terms[sum.count++] = {arrays[back] + at, weights[back]};
      }
    }
  };
  add_terms(update.x, row.x);
  add_terms(update.older_m, row.m);
  return sum;
}

// Count, sum and sum of squares of differences from the first value, which a constant has none of
// and which keeps the digits of a mean that is large beside the deviation. Eight sums side by side,
// which the compiler makes vectors of, added up in one order everywhere.
class Deviation {
 public:
  explicit Deviation(float first) : first_(first) {}

  void add(const float* values, std::size_t count) {  // count: kWidth, but for the last
    for (std::size_t lane = 0; lane < count; ++lane) {
      const double difference = double{values[lane]} - first_;
      sum_[lane] += difference;
      squares_[lane] += difference * difference;
    }
    count_ += count;
  }

  float value() const {
    double sum = 0, squares = 0;
    for (std::size_t lane = 0; lane < kWidth; ++lane) {
      sum += sum_[lane];
      squares += squares_[lane];
    }
    const double n = static_cast<double>(count_);
    return static_cast<float>(std::sqrt(std::max(0.0, squares - sum * sum / n) / (n - 1)));
  }

  static constexpr std::size_t kWidth = 8;

 private:
  double first_;
  double sum_[kWidth] = {}, squares_[kWidth] = {};
  std::size_t count_ = 0;
};

}  // namespace

RowWeights row_weights(const double* row) {
  const auto weight = [row](int column) { return static_cast<float>(row[column]); };
  RowWeights weights;
  weights.in_scale = weight(kColumnInScale);
  for (int back = 0; back < kHistory; ++back) {
    weights.m[back] = weight(kColumnM + back);
    weights.x[back] = weight(kColumnX + back);
  }
  weights.x0 = weight(kColumnX0);
  weights.x0_from_x = weight(kColumnX0FromX);
  weights.x0_from_m = weight(kColumnX0FromM);
  weights.x0_lo = weight(kColumnX0Lo);
  weights.x0_hi = weight(kColumnX0Hi);
  weights.clamp_m = row[kColumnClampM] != 0;
  weights.noise = weight(kColumnNoise);
  weights.alpha = weight(kColumnAlpha);
  weights.sigma = weight(kColumnSigma);
  return weights;
}

void update(const SampleUpdate& update, std::size_t begin, std::size_t end, Isa isa) {
  Pieces pieces(isa);
  const UpdateKernels& kernels = pieces.kernels;
  const RowWeights& row = *update.row;
  pieces.each(begin, end, [&](std::size_t at, std::size_t count) {
    if (update.uncond) {
      kernels.guide(update.uncond + at, update.guidance, update.factor, update.m + at, count);
    }
    if (row.clamp_m) kernels.clamp_output(row, update.x[0] + at, update.m + at, count);
    const float* z = nullptr;
    if (row.noise != 0) z = pieces.normal(update.seed, update.step, kStreamStep, at, count);
    kernels.sum(row_sum(update, at, z), update.out + at, count);
    pieces.finish(update.kept, update.seed, update.out, update.scaled, update.in_scale, at, count);
  });
}

void start(const SampleStart& start, std::size_t begin, std::size_t end, Isa isa) {
  Pieces pieces(isa);
  const UpdateKernels& kernels = pieces.kernels;
  pieces.each(begin, end, [&](std::size_t at, std::size_t count) {
    float* out = start.out + at;
    if (start.x_T) {
      std::copy_n(start.x_T + at, count, out);
    } else {
      const float* eps = pieces.normal(start.seed, 0, kStreamInit, at, count);
      if (start.image) {
        kernels.at_level(start.image + at, start.alpha, eps, start.sigma, out, count);
      } else {
        kernels.scale(eps, start.init_scale, out, count);
      }
    }
    pieces.finish(start.kept, start.seed, start.out, start.scaled, start.in_scale, at, count);
  });
}

void predicted_x0(const RowWeights& row, const float* x, const float* m, float* out,
                  std::size_t count, Isa isa) {
  FD_KERNELS(isa, kUpdate).predicted_x0(row, x, m, out, count);
}

float guidance_factor(const float* uncond, const float* cond, float g, float phi,
                      std::size_t count) {
  if (phi == 0 || count == 0) return 1;
  const auto guided = [g](float u, float c) { return u + g * (c - u); };
  Deviation wanted(cond[0]), have(guided(uncond[0], cond[0]));
  constexpr std::size_t width = Deviation::kWidth;
  for (std::size_t at = 0; at < count; at += width) {
    float m[width];
    const std::size_t here = std::min(width, count - at);
    for (std::size_t lane = 0; lane < here; ++lane)
      m[lane] = guided(uncond[at + lane], cond[at + lane]);
    wanted.add(cond + at, here);
    have.add(m, here);
  }
  const float deviation = have.value();
  return deviation > 0 ? 1.0f + phi * (wanted.value() / deviation - 1.0f) : 1.0f;
}

}  // namespace fd
