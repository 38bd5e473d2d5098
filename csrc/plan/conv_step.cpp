#include "plan/conv_step.h"

#include <algorithm>
#include <chrono>
#include <sstream>
#include <vector>

#include "core/team.h"
#include "plan/aligned.h"
#include "plan/tuner.h"

namespace fd {
namespace {

std::string text_of(const ConvChoice& choice) {
  std::string text = conv_algorithm_name(choice.algorithm);
  if (choice.block > 0) text += ",block=" + std::to_string(choice.block);
  if (choice.split_channels) text += ",split=channels";
  if (choice.precision == Precision::bf16) text += ",bf16";
  return text;
}

std::string pool_text(const ConvShape& shape) {
  if (!is_pooled(shape)) return "";
  return std::string(shape.pool == PoolKind::max ? " max" : " mean") + " pool " +
         std::to_string(shape.pool_y) + "x" + std::to_string(shape.pool_x);
}

}  // namespace

ConvStep::ConvStep(const ConvShape& shape, const float* weight, const float* bias,
                   const PlannedImage& in, const PlannedImage& out, PlannedEpilogue epilogue,
                   const PlanOptions& options)
    : shape_(shape),
      weight_(weight),
      bias_(bias),
      in_(in),
      out_(out),
      epilogue_(std::move(epilogue)),
      options_(options) {}

std::shared_ptr<const Conv> ConvStep::packed(const ConvChoice& choice) {
  // Weak: what only a candidate that lost has used goes away with it.
  std::weak_ptr<const Conv>& known = packed_[{choice.algorithm, choice.precision}];
  std::shared_ptr<const Conv> conv = known.lock();
  if (conv == nullptr) {
    conv = Conv::make(shape_, choice.algorithm, choice.precision, options_.isa, weight_, bias_);
    known = conv;
  }
  return conv;
}

void ConvStep::set(const Regime& regime, const ConvChoice& choice) {
  Chosen& chosen = chosen_[regime.index()];
  chosen.choice = choice;
  chosen.conv = nullptr;
  chosen.settled = true;
}

ConvChoice ConvStep::float32_choice(const Regime& regime) const {
  return conv_choices(shape_, Precision::float32, options_.isa, regime.samples, parts(regime),
                      options_.exact)
      .front();
}

bool ConvStep::coarse(const Regime& regime, ConvChoice* choice) const {
  return coarse_choice(shape_, options_.isa, regime.samples, parts(regime), choice);
}

std::string ConvStep::key(const Regime& regime) const {
  std::ostringstream text;
  const ConvShape& s = shape_;
  text << isa_name(options_.isa) << (options_.precision == Precision::bf16 ? " bf16 " : " f32 ")
       << (s.transposed ? "transposed " : "conv ") << s.in_channels << ">" << s.out_channels << "/"
       << s.groups << " k" << s.kernel_y << "x" << s.kernel_x << " s" << s.stride_y << "x"
       << s.stride_x << " p" << s.padding_y << "x" << s.padding_x << " d" << s.dilation_y << "x"
       << s.dilation_x << " " << s.height << "x" << s.width << ">" << s.out_height << "x"
       << s.out_width << pool_text(s) << " n" << regime.samples << " t"
       << (regime.team ? options_.threads : 1) << (options_.exact ? " exact" : "");
  return text.str();
}

void ConvStep::choose(const Regime& regime, Tuner* tuner) {
  Chosen& chosen = chosen_[regime.index()];
  if (chosen.settled) return;
  const std::vector<ConvChoice> choices = conv_choices(
      shape_, options_.precision, options_.isa, regime.samples, parts(regime), options_.exact);
  chosen.choice = choices.front();
  if (tuner != nullptr) {
    // How much at a time is asked of the winner alone: of all, it would be three times the work.
    const Chosen winner = fastest(key(regime), choices, regime, *tuner);
    const std::string name = key(regime) + " blocks of " + text_of(winner.choice);
    chosen.choice =
        fastest(name, block_choices(shape_, winner.choice, regime.samples, parts(regime)), regime,
                *tuner)
            .choice;
  }
  chosen.settled = true;
}

ConvStep::Chosen ConvStep::fastest(const std::string& key, const std::vector<ConvChoice>& choices,
                                   const Regime& regime, Tuner& tuner) {
  std::vector<std::string> names;
  for (const ConvChoice& choice : choices) names.push_back(text_of(choice));
  std::vector<Chosen> candidates(choices.size());  // keeps what is packed while they compete
  const std::size_t best = tuner.choose(key, names, [&](std::size_t i) {
    if (candidates[i].conv == nullptr) candidates[i].conv = packed(choices[i]);
    candidates[i].choice = choices[i];
    return measure(candidates[i], regime);
  });
  candidates[best].choice = choices[best];
  return candidates[best];
}

void ConvStep::pack(const Regime& regime) {
  Chosen& chosen = chosen_[regime.index()];
  choose(regime, nullptr);
  if (chosen.conv == nullptr) chosen.conv = packed(chosen.choice);
}

// Seconds of one call on images of its own: what the epilogue adds is the same for all candidates.
double ConvStep::measure(const Chosen& candidate, const Regime& regime) const {
  const auto floats = [](int height, int width, int channels) {
    return static_cast<std::ptrdiff_t>(height) * width * channels;
  };
  const std::ptrdiff_t in_floats = floats(shape_.height, shape_.width, shape_.in_channels);
  const int out_height = shape_.out_height / shape_.pool_y;
  const int out_width = shape_.out_width / shape_.pool_x;
  const std::ptrdiff_t out_floats = floats(out_height, out_width, shape_.out_channels);
  const auto samples = static_cast<std::size_t>(regime.samples);
  AlignedFloats in(samples * static_cast<std::size_t>(in_floats));
  AlignedFloats out(samples * static_cast<std::size_t>(out_floats));
  std::fill(in.data(), in.data() + in.size(), 0.5f);
  const std::size_t scratch =
      candidate.conv->scratch_floats(regime.samples, candidate.choice.block);
  const int threads = parts(regime);
  std::vector<AlignedFloats> scratches;
  for (int i = 0; i < threads; ++i) scratches.emplace_back(scratch);
  double seconds = 0;
  run_team(threads, [&](Team& team) {
    ConvCall call;
    call.samples = regime.samples;
    call.in = {in.data(), in_floats, static_cast<std::ptrdiff_t>(shape_.width) * shape_.in_channels,
               shape_.in_channels};
    call.out = {out.data(), out_floats,
                static_cast<std::ptrdiff_t>(out_width) * shape_.out_channels, shape_.out_channels};
    call.split_channels = candidate.choice.split_channels;
    call.block = candidate.choice.block;
    call.share = {team.rank(), team.size()};
    call.scratch = scratches[static_cast<std::size_t>(team.rank())].data();
    const auto once = [&] {
      team.barrier();
      const auto begin = std::chrono::steady_clock::now();
      candidate.conv->run(call);
      team.barrier();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    once();
    const double first = once(), second = once();
    if (team.rank() == 0) seconds = std::min(first, second);
  });
  return seconds;
}

void ConvStep::run(const Frame& frame) const {
  const Chosen& chosen = chosen_[frame.regime];
  const Epilogue epilogue = epilogue_.bind(frame);
  ConvCall call;
  call.samples = frame.samples;
  call.in = in_.in(frame);
  call.out = out_.out(frame);
  call.epilogue = epilogue.count > 0 ? &epilogue : nullptr;
  call.split_channels = chosen.choice.split_channels;
  call.block = chosen.choice.block;
  call.share = frame.share;
  call.scratch = frame.scratch;
  chosen.conv->run(call);
}

std::size_t ConvStep::scratch_floats(int samples) const {
  std::size_t most = 0;
  for (const Chosen& chosen : chosen_) {
    if (chosen.conv == nullptr) continue;
    most = std::max(most, chosen.conv->scratch_floats(samples, chosen.choice.block));
  }
  return most;
}

std::string ConvStep::describe(int regime) const {
  std::ostringstream text;
  text << (shape_.transposed ? "conv_transpose " : "conv ") << shape_.kernel_y << "x"
       << shape_.kernel_x << " " << shape_.in_channels << ">" << shape_.out_channels << " at "
       << shape_.out_height << "x" << shape_.out_width;
  if (is_pooled(shape_)) text << "," << pool_text(shape_);
  if (chosen_[regime].settled) text << ", " << text_of(chosen_[regime].choice);
  return text.str();
}

double ConvStep::flops() const {
  const double taps = static_cast<double>(shape_.kernel_y) * shape_.kernel_x * shape_.in_channels *
                      shape_.out_channels / shape_.groups;
  const double pixels = shape_.transposed
                            ? static_cast<double>(shape_.height) * shape_.width
                            : static_cast<double>(shape_.out_height) * shape_.out_width;
  return 2 * taps * pixels;
}

std::size_t ConvStep::weight_bytes() const {
  std::size_t bytes = 0;
  for (const auto& entry : packed_) {
    const std::shared_ptr<const Conv> conv = entry.second.lock();
    if (conv != nullptr) bytes += conv->weight_bytes();
  }
  return bytes;
}

}  // namespace fd
