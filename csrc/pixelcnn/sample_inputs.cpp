#include "pixelcnn/sample_inputs.h"

#include <algorithm>

#include "core/error.h"
#include "core/team.h"

namespace fd {

SampleInputs::SampleInputs(const EngineFile& file, const PixelGraph& graph,
                           const PlanOptions& options)
    : width_(static_cast<std::size_t>(file.context_width)),
      plan_(file.request, options),
      regime_{kMaxBlock, false} {
  plan_.pack(regime_);
  for (const std::string& name : graph.per_sample) {
    int source = -1;
    for (std::size_t i = 0; i < plan_.output_count(); ++i) {
      if (plan_.output_name(i) == name) source = static_cast<int>(i);
    }
    if (source < 0 && name != file.context) {
      fail_argument("engine file", "a step of x, context and what its parts make", name);
    }
    source_.push_back(source);
  }
}

SampleInputs::Memory SampleInputs::memory(int samples) const {
  const auto n = static_cast<std::size_t>(samples);
  Memory made;
  made.contexts = AlignedFloats(n * width_);
  made.arena = AlignedFloats(plan_.arena_floats(samples));
  made.scratch = AlignedFloats(plan_.scratch_floats(samples));
  for (std::size_t i = 0; i < plan_.output_count(); ++i) {
    made.outputs.emplace_back(n * static_cast<std::size_t>(plan_.output_floats(i)));
  }
  for (const int source : source_) {
    made.values.push_back(source < 0 ? made.contexts.data()
                                     : made.outputs[static_cast<std::size_t>(source)].data());
  }
  return made;
}

void SampleInputs::compute(const float* context, int samples, int capacity, Memory* memory) const {
  const std::size_t floats = static_cast<std::size_t>(samples) * width_;
  if (context != nullptr) {
    std::copy(context, context + floats, memory->contexts.data());
  } else {
    std::fill(memory->contexts.data(), memory->contexts.data() + floats, 0.0f);
  }
  if (plan_.output_count() == 0) return;
  std::vector<Bound> in, out;
  for (std::size_t i = 0; i < plan_.input_count(); ++i) {
    in.push_back({memory->contexts.data(), plan_.input_floats(i)});
  }
  for (std::size_t i = 0; i < plan_.output_count(); ++i) {
    out.push_back({memory->outputs[i].data(), plan_.output_floats(i)});
  }
  Team alone = Team::alone();
  plan_.run(samples, regime_, in.data(), out.data(), memory->arena.data(), capacity,
            memory->scratch.data(), alone);
}

}  // namespace fd
