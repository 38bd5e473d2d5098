// With bf16, which convolutions are done by F(4x4) in bf16. It takes some 0.6 of F(2x2)'s time at
// about twice its error, so a network has room for some of them: as many as keep the whole step
// within kBf16Error. How much each adds is not known from its shape (what comes after may damp or
// spread it), so it is measured: one layer at a time on noise, at the table's times, against
// float32.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/noise.h"
#include "plan/conv_step.h"
#include "sampling/network.h"
#include "sampling/plan_stepper.h"

namespace fd {
namespace {

// Of the output's rms, in rms, over the probes; other inputs of sprites16 have up to a fifth more.
constexpr double kBf16Error = 3.3e-3;
constexpr std::size_t kProbes = 8;

// FNV-1a over 64-bit words: what a network's weights are, for the cache.
std::uint64_t digest(const Program& program) {
  std::uint64_t hash = 14695981039346656037u;
  for (const Value& value : program.values) {
    if (value.constant == nullptr) continue;
    std::size_t count = 1;
    for (std::int64_t size : value.shape) count *= static_cast<std::size_t>(size);
    for (std::size_t i = 0; i < count; ++i) {
      std::uint32_t bits = 0;
      std::copy_n(reinterpret_cast<const unsigned char*>(value.constant + i), sizeof(bits),
                  reinterpret_cast<unsigned char*>(&bits));
      hash = (hash ^ bits) * 1099511628211u;
    }
  }
  return hash;
}

struct Layer {
  std::size_t index = 0;
  double added = 0;  // to the square of the error
  double flops = 0;
};

}  // namespace

std::vector<float> Network::probe() {
  const Regime regime = Regime::of(static_cast<int>(std::min(block_, kProbes)), false);
  step_.plan.pack(regime);
  const std::size_t elements = static_cast<std::size_t>(step_.plan.output_floats(0));
  std::vector<float> x(kProbes * elements), m(kProbes * elements), times(kProbes);
  std::vector<float> contexts(kProbes * static_cast<std::size_t>(file_.context_width), 0.0f);
  std::uint64_t seeds[kProbes];
  for (std::size_t i = 0; i < kProbes; ++i) {
    seeds[i] = i;
    const std::size_t row = i * file_.table_rows() / kProbes;
    times[i] = static_cast<float>(file_.table[row * kTableColumns]);
    const auto width = static_cast<std::size_t>(file_.context_width);
    if (width > 0) contexts[i * width + i % width] = 1;
  }
  NoiseRequest noise;
  noise.seeds = seeds;
  noise.n = kProbes;
  noise.count = elements;
  noise_normal(noise, x.data(), 1);
  Conditions conditions;
  conditions.times = times.data();
  conditions.context = contexts.data();
  conditions.rows = conditions.n = conditions.fewest = kProbes;
  conditions.every_row = false;
  conditions.most = kProbes * static_cast<std::size_t>(options_.threads);
  const auto workspace = lease();
  const PlanStepper stepper(*this, conditions, *workspace);
  std::vector<Ask> asks(kProbes);
  for (std::size_t i = 0; i < kProbes; ++i) {
    asks[i].sample = static_cast<std::uint32_t>(i);
    asks[i].row = static_cast<std::int32_t>(i);
    asks[i].x = x.data() + i * elements;
    asks[i].m = m.data() + i * elements;
  }
  Team alone = Team::alone();
  for (std::size_t first = 0; first < kProbes; first += block_) {
    stepper.predict(asks.data() + first, std::min(block_, kProbes - first), alone, 0);
  }
  return m;
}

void Network::spend_error(Tuner& tuner, const std::vector<Regime>& regimes) {
  const std::vector<ConvStep*> convs = step_.plan.convolutions();
  const Regime regime = Regime::of(static_cast<int>(std::min(block_, kProbes)), false);
  std::vector<std::size_t> chosen;
  std::ostringstream name;
  name << "coarse " << isa_name(options_.isa) << " " << file_.name << " " << std::hex
       << digest(file_.step) << " " << kBf16Error;
  const std::string known = tuner.remembered(name.str());
  if (!known.empty()) {
    std::istringstream text(known.substr(1));
    for (std::size_t index; text >> index;) {
      if (index < convs.size()) chosen.push_back(index);
    }
  } else {
    chosen = affordable(regime, convs);
    std::string text = ":";
    for (std::size_t index : chosen) text += " " + std::to_string(index);
    tuner.remember(name.str(), text);
  }
  for (const Regime& each : regimes) {
    step_.packed[each.index()] = false;  // choices have changed
    for (std::size_t index : chosen) {
      ConvChoice choice;
      if (convs[index]->coarse(each, &choice)) convs[index]->set(each, choice);
    }
  }
}

std::vector<std::size_t> Network::affordable(const Regime& regime,
                                             const std::vector<ConvStep*>& convs) {
  std::vector<ConvChoice> fine;
  for (ConvStep* conv : convs) fine.push_back(conv->choice(regime));
  for (ConvStep* conv : convs) conv->set(regime, conv->float32_choice(regime));
  const std::vector<float> exact = probe();
  double scale = 0;
  for (float value : exact) scale += static_cast<double>(value) * value;
  const auto error = [&] {  // its square
    const std::vector<float> m = probe();
    double sum = 0;
    for (std::size_t i = 0; i < m.size(); ++i) {
      sum += (static_cast<double>(m[i]) - exact[i]) * (static_cast<double>(m[i]) - exact[i]);
    }
    return sum / scale;
  };
  for (std::size_t i = 0; i < convs.size(); ++i) convs[i]->set(regime, fine[i]);
  const double least = error();
  std::vector<Layer> layers;
  for (std::size_t i = 0; i < convs.size(); ++i) {
    ConvChoice choice;
    if (!convs[i]->coarse(regime, &choice)) continue;
    convs[i]->set(regime, choice);
    layers.push_back({i, std::max(error() - least, 1e-9), convs[i]->flops()});
    convs[i]->set(regime, fine[i]);
  }
  std::sort(layers.begin(), layers.end(),
            [](const Layer& a, const Layer& b) { return a.flops * b.added > b.flops * a.added; });
  // Errors of layers are nearly independent, so their squares add up; what is left of that is
  // checked at the end.
  double sum = least;
  std::vector<std::size_t> chosen;
  for (const Layer& layer : layers) {
    if (sum + layer.added > kBf16Error * kBf16Error) continue;
    sum += layer.added;
    chosen.push_back(layer.index);
  }
  const auto apply = [&](std::size_t count) {
    for (std::size_t i = 0; i < convs.size(); ++i) convs[i]->set(regime, fine[i]);
    for (std::size_t k = 0; k < count; ++k) {
      ConvChoice choice;
      if (convs[chosen[k]]->coarse(regime, &choice)) convs[chosen[k]]->set(regime, choice);
    }
  };
  apply(chosen.size());
  while (!chosen.empty() && error() > kBf16Error * kBf16Error) {
    chosen.pop_back();
    apply(chosen.size());
  }
  apply(0);
  return chosen;
}

}  // namespace fd
