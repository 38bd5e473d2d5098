#include "sampling/trajectory.h"

#include <algorithm>

namespace fd {
namespace {

// Updates are shared out in groups of this many elements: whole groups of the noise kernels and
// whole cache lines.
constexpr std::size_t kGroup = 64;

}  // namespace

Trajectory::Trajectory(const SampleRequest& request, const LoopShape& shape, Isa isa,
                       LoopMemory& memory)
    : request_(request),
      isa_(isa),
      elements_(shape.elements()),
      plane_(shape.height * shape.width),
      depths_(table_depths(request.table)),
      guided_rows_(request.guidance && request.context
                       ? std::min(request.guided_rows, request.table.rows)
                       : 0),
      memory_(memory) {
  memory_.hold(request.table, request.n, elements_, guided_rows_ != 0);
}

// body(sample, begin, end) on this member's share of all elements of all samples.
template <class Body>
void Trajectory::share(const Team& team, const Body& body) const {
  const std::size_t groups = (elements_ + kGroup - 1) / kGroup, total = request_.n * groups;
  const auto rank = static_cast<std::size_t>(team.rank());
  const auto size = static_cast<std::size_t>(team.size());
  const std::size_t last = total * (rank + 1) / size;
  for (std::size_t at = total * rank / size; at < last;) {
    const std::size_t first = at % groups, count = std::min(groups - first, last - at);
    body(at / groups, first * kGroup, std::min(elements_, (first + count) * kGroup));
    at += count;
  }
}

// What a mask keeps of a sample's image in x_k.
Kept Trajectory::kept(std::size_t sample, std::size_t k) const {
  Kept kept;
  if (!request_.mask) return kept;
  kept.mask = request_.mask + sample * plane_;
  kept.image = of_sample(request_.image, sample);
  kept.plane = plane_;
  if (k < rows()) {  // and after the last row the image itself
    kept.alpha = memory_.rows[k].alpha;
    kept.sigma = memory_.rows[k].sigma;
  }
  return kept;
}

void Trajectory::start(const Team& team) {
  const RowWeights& row = memory_.rows[0];
  share(team, [&](std::size_t sample, std::size_t begin, std::size_t end) {
    SampleStart start;
    start.seed = request_.seeds[sample];
    start.x_T = of_sample(request_.x_T, sample);
    start.image = request_.from_image ? of_sample(request_.image, sample) : nullptr;
    start.alpha = row.alpha;
    start.sigma = row.sigma;
    start.init_scale = static_cast<float>(request_.table.init_scale);
    start.kept = kept(sample, 0);
    start.out = of_sample(memory_.x(0), sample);
    start.scaled = scaled(0) ? of_sample(memory_.scaled(), sample) : nullptr;
    start.in_scale = row.in_scale;
    fd::start(start, begin, end, isa_);
  });
}

void Trajectory::find_factors(std::size_t k, const Team& team) {
  const auto size = static_cast<std::size_t>(team.size());
  for (auto sample = static_cast<std::size_t>(team.rank()); sample < request_.n; sample += size) {
    memory_.factors[sample] =
        guidance_factor(of_sample(uncond(), sample), of_sample(m(k), sample),
                        request_.guidance[sample], request_.guidance_rescale[sample], elements_);
  }
}

void Trajectory::update(std::size_t k, const Team& team) {
  share(team, [this, k](std::size_t sample, std::size_t begin, std::size_t end) {
    SampleUpdate update;
    update.row = &memory_.rows[k];
    update.seed = request_.seeds[sample];
    update.step = static_cast<std::uint32_t>(k);
    const auto looks = [k](int depth) { return std::min(k + 1, static_cast<std::size_t>(depth)); };
    for (std::size_t back = 0; back < looks(depths_.x); ++back) {
      update.x[back] = of_sample(memory_.x(k - back), sample);
    }
    update.m = of_sample(memory_.m(k), sample);
    for (std::size_t back = 1; back < looks(depths_.m); ++back) {
      update.older_m[back] = of_sample(memory_.m(k - back), sample);
    }
    if (guided(k)) {
      update.uncond = of_sample(memory_.uncond(), sample);
      update.guidance = request_.guidance[sample];
      if (rescaled(k)) update.factor = memory_.factors[sample];
    }
    update.kept = kept(sample, k + 1);
    update.out = of_sample(memory_.x(k + 1), sample);
    if (scaled(k + 1)) {
      update.scaled = of_sample(memory_.scaled(), sample);
      update.in_scale = memory_.rows[k + 1].in_scale;
    }
    fd::update(update, begin, end, isa_);
  });
}

bool Trajectory::has_x0(std::size_t k) const {
  return memory_.rows[k].x0_from_x != 0 || memory_.rows[k].x0_from_m != 0;
}

void Trajectory::x0(std::size_t k, float* out) const {
  predicted_x0(memory_.rows[k], memory_.x(k), memory_.m(k), out, request_.n * elements_, isa_);
}

}  // namespace fd
