#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "cpu/dispatch.h"
#include "cpu/elementwise_kernels.h"
#include "pixelcnn/evaluator.h"

namespace fd {
namespace {

void binary_row(Binary kind, RowOperand a, RowOperand b, float* out, std::size_t count, Isa isa) {
  if (kind != Binary::pow) return FD_KERNELS(isa, kElementwise).binary(kind, a, b, out, count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = std::pow(a.data[i * a.step], b.data[i * b.step]);
  }
}

}  // namespace

PixelRun::PixelRun(const PixelEvaluator& evaluator, int capacity, int threads)
    : evaluator_(evaluator), capacity_(capacity), members_(static_cast<std::size_t>(threads)) {
  const auto samples = static_cast<std::size_t>(capacity);
  std::size_t floats = 0;
  for (const PixelEvaluator::Cells& cells : evaluator.cells_) {
    const std::size_t positions = cells.positions * samples + (cells.zeros ? 1 : 0);
    offset_.push_back(floats);
    floats += round_up(positions * static_cast<std::size_t>(cells.channels), 16);
    rounded_offset_.push_back(floats);
    floats +=
        round_up(positions * static_cast<std::size_t>(cells.rounded_bytes) / sizeof(float), 16);
  }
  memory_ = AlignedFloats(floats + 16);  // kernels read pairs beyond the last channel
  std::fill(memory_.data(), memory_.data() + memory_.size(), 0.0f);

  const Wavefront& plan = evaluator.wavefront_;
  const std::size_t rows = static_cast<std::size_t>(plan.rows_at_once) * samples;
  std::size_t patch = 0;
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const PackedStage* packed = evaluator.ready_[i].packed.get();
    if (packed == nullptr || !packed->patch()) continue;
    patch = std::max(patch, round_up(static_cast<std::size_t>(packed->patch_channels()), 16));
  }
  for (Member& member : members_) {
    member.pixels.resize(evaluator.pixel_keys_.size(), std::vector<ConvPixel>(rows));
    for (const PixelEvaluator::PointerKey& key : evaluator.pointer_keys_) {
      member.pointers.emplace_back(rows * key.taps.size());
    }
    member.rows.resize(plan.groups.size());
    // A row's patch as floats, and rounded.
    member.patches = AlignedFloats(rows * patch + patch);
    std::fill(member.patches.data(), member.patches.data() + member.patches.size(), 0.0f);
    member.patch_rows.resize(rows);
  }
}

float* PixelRun::map_data(int map) const {
  const auto m = static_cast<std::size_t>(map);
  const PixelEvaluator::Cells& cells = evaluator_.cells_[m];
  return memory_.data() + offset_[m] + (cells.zeros ? static_cast<std::size_t>(cells.channels) : 0);
}

char* PixelRun::rounded(int map) const {
  return reinterpret_cast<char*>(memory_.data() + rounded_offset_[static_cast<std::size_t>(map)]);
}

// Addressed by ConvPixel: the sample, the row of positions at hand, the cell of the ring.
Image PixelRun::image(int map) const {
  const auto m = static_cast<std::size_t>(map);
  const std::ptrdiff_t channels = evaluator_.cells_[m].channels;
  if (evaluator_.wavefront_.maps[m].rows == 0) return {map_data(map), 0, channels, 0};
  return {map_data(map), channels, 0, channels * capacity_};
}

Operand PixelRun::operand(const PixelOperand& from, int first) const {
  Operand made;
  made.channel = from.step;
  if (from.kind == PixelOperand::constant) {
    made.data = from.data + std::ptrdiff_t{first} * from.step;
    return made;
  }
  if (from.kind == PixelOperand::per_sample) {
    const auto index = static_cast<std::size_t>(from.index);
    made.sample = evaluator_.graph_.per_sample_channels[index];
    made.data = per_sample_[index] + from.first + std::ptrdiff_t{first} * from.step;
    return made;
  }
  const Image map = image(from.index);
  made.data = map.data + from.first + std::ptrdiff_t{first} * from.step;
  made.sample = map.sample, made.row = map.row, made.pixel = map.pixel;
  return made;
}

void PixelRun::begin(int samples, const float* const* per_sample) {
  samples_ = samples;
  per_sample_.assign(per_sample, per_sample + evaluator_.graph_.per_sample.size());
  make_epilogues();
}

void PixelRun::make_epilogues() {
  const Wavefront& plan = evaluator_.wavefront_;
  epilogues_.assign(plan.stages.size(), {});
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const Stage& stage = plan.stages[i];
    const PixelOp& op = evaluator_.graph_.ops[static_cast<std::size_t>(stage.op)];
    if (!op.conv) continue;
    Epilogue& epilogue = epilogues_[i];
    if (op.steps.size() > static_cast<std::size_t>(kMaxEpilogue)) {
      fail_argument("model", "at most " + std::to_string(kMaxEpilogue) + " steps after an op",
                    std::to_string(op.steps.size()) + " at " + op.path);
    }
    for (const PixelStep& step : op.steps) {
      EpilogueStep& to = epilogue.steps[epilogue.count++];
      to.kind = step.unary                   ? EpilogueStep::unary
                : step.binary == Binary::add ? EpilogueStep::add
                                             : EpilogueStep::mul;
      to.function = step.function;
      if (!step.unary) to.operand = operand(step.operand, stage.first);
    }
  }
}

// The positions at hand, for every kind of ring.
void PixelRun::place(std::int64_t subtime, Member& member) const {
  const Wavefront& plan = evaluator_.wavefront_;
  for (std::size_t g = 0; g < plan.groups.size(); ++g) {
    const Wavefront::Positions p = plan.positions(g, subtime);
    member.rows[g] = std::max(0, p.last_row - p.first_row + 1) * samples_;
  }
  for (std::size_t k = 0; k < evaluator_.pixel_keys_.size(); ++k) {
    const auto& key = evaluator_.pixel_keys_[k];
    const auto p = plan.positions(static_cast<std::size_t>(key.group), subtime);
    std::ptrdiff_t r = 0;
    for (int row = p.first_row; row <= p.last_row; ++row) {
      const std::int64_t column = p.column - plan.slope * (row - p.first_row);
      const std::ptrdiff_t cell = key.ring == 0 ? 0 : row % key.ring * plan.width + column;
      for (int s = 0; s < samples_; ++s, ++r)
        member.pixels[k][static_cast<std::size_t>(r)] = {s, r, cell};
    }
  }
  for (std::size_t k = 0; k < evaluator_.pointer_keys_.size(); ++k) {
    point(evaluator_.pointer_keys_[k], subtime, &member.pointers[k]);
  }
}

// Of the memory's beginning: a stage adds where its map stands.
void PixelRun::point(const PixelEvaluator::PointerKey& key, std::int64_t subtime,
                     std::vector<const void*>* to) const {
  const Wavefront& plan = evaluator_.wavefront_;
  const auto p = plan.positions(static_cast<std::size_t>(key.group), subtime);
  const char* base = reinterpret_cast<const char*>(memory_.data());
  const auto taps = static_cast<std::ptrdiff_t>(key.taps.size());
  const void** at = to->data();
  for (int row = p.first_row; row <= p.last_row; ++row, at += taps * samples_) {
    const std::int64_t column = p.column - plan.slope * (row - p.first_row);
    for (std::ptrdiff_t t = 0; t < taps; ++t) {
      const PixelTap& tap = key.taps[static_cast<std::size_t>(t)];
      const std::int64_t y = row - tap.rows, x = column + tap.columns;
      const bool inside = y >= 0 && y < plan.height && x >= 0 && x < plan.width;
      const char* first = base;
      std::ptrdiff_t step = key.stride_bytes;
      if (key.ring == 0) {
        first += std::ptrdiff_t{row - p.first_row} * samples_ * step;
      } else if (inside) {
        const std::int64_t cell = y % key.ring * plan.width + x;
        first += (cell * capacity_ + 1) * step;  // the zeros come first
      } else {
        step = 0;
      }
      for (int s = 0; s < samples_; ++s) at[s * taps + t] = first + s * step;
    }
  }
}

PixelRun::Share PixelRun::share_of(const Stage& stage, int rows, const Team& team) const {
  Share all{0, rows, 0, stage.channels};
  if (team.size() == 1) return all;
  const int panel = kPanelVectors * gemm_kernels(evaluator_.precision_, evaluator_.isa_).lanes;
  const int panels = divide_up(stage.channels, panel);
  if (panels >= team.size()) {
    const Range range = part_of(panels, {team.rank(), team.size()});
    all.first_channel = static_cast<int>(range.begin) * panel;
    all.last_channel = std::min(stage.channels, static_cast<int>(range.end) * panel);
    return all;
  }
  const Range range = part_of(rows, {team.rank(), team.size()});
  all.first_row = static_cast<int>(range.begin), all.last_row = static_cast<int>(range.end);
  return all;
}

void PixelRun::step(std::int64_t subtime, Team& team) {
  Member& member = members_[static_cast<std::size_t>(team.rank())];
  if (team.rank() == 0) subtime_ = subtime;
  place(subtime, member);
  const Wavefront& plan = evaluator_.wavefront_;
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const Stage& stage = plan.stages[i];
    // Also where nothing is due: later stages rely on it.
    if (stage.waits) team.barrier();
    const int rows = member.rows[static_cast<std::size_t>(stage.group)];
    if (rows == 0) continue;
    const Share share = share_of(stage, rows, team);
    if (share.first_row >= share.last_row || share.first_channel >= share.last_channel) continue;
    const PixelOp& op = evaluator_.graph_.ops[static_cast<std::size_t>(stage.op)];
    if (evaluator_.ready_[i].packed != nullptr) {
      run_conv(i, share, member);
    } else {
      run_pointwise(i, share, member);
    }
    if (evaluator_.rounds(op.out)) round_output(i, share, member);
  }
  team.barrier();
}

void PixelRun::run_conv(std::size_t index, const Share& share, Member& member) const {
  const Stage& stage = evaluator_.wavefront_.stages[index];
  const PixelOp& op = evaluator_.graph_.ops[static_cast<std::size_t>(stage.op)];
  const PixelEvaluator::Ready& ready = evaluator_.ready_[index];
  const PackedStage& packed = *ready.packed;
  const auto in = static_cast<std::size_t>(op.in);
  const bool bf16 = evaluator_.precision_ == Precision::bf16;
  const int in_first = op.in_first + packed.in_first();
  const std::ptrdiff_t element = bf16 && !packed.patch() ? 2 : 4;
  const bool from_rounded = element == 2;
  GemmBlock block;
  block.rows = share.last_row - share.first_row;
  block.a_offset_bytes =
      in_first * element + static_cast<std::ptrdiff_t>(
                               (from_rounded ? rounded_offset_[in] : offset_[in]) * sizeof(float));
  block.a = member.pointers[ready.pointers].data() +
            static_cast<std::size_t>(share.first_row) * stage.taps.size();
  if (packed.patch()) {
    // Each thread for itself: it is little, and waiting for others would cost more.
    const auto channels = static_cast<std::size_t>(packed.in_channels());
    const std::size_t width = round_up(static_cast<std::size_t>(packed.patch_channels()), 16);
    float* unrounded = member.patches.data() + static_cast<std::size_t>(block.rows) * width;
    for (int r = 0; r < block.rows; ++r) {
      float* row = member.patches.data() + static_cast<std::size_t>(r) * width;
      float* to = bf16 ? unrounded : row;
      for (std::size_t t = 0; t < stage.taps.size(); ++t, to += channels) {
        const char* from =
            static_cast<const char*>(block.a[static_cast<std::size_t>(r) * stage.taps.size() + t]);
        const float* values = reinterpret_cast<const float*>(from + block.a_offset_bytes);
        std::copy(values, values + channels, to);
      }
      if (bf16) packed.kernels().round(unrounded, packed.patch_channels(), row);
      member.patch_rows[static_cast<std::size_t>(r)] = row;
    }
    block.a = member.patch_rows.data();
    block.a_offset_bytes = 0;
  }
  block.pixels = member.pixels[ready.pixels].data() + share.first_row;
  block.target.out = image(op.out);
  block.target.out.data += op.first + stage.first;
  block.target.epilogue = epilogues_[index].count > 0 ? &epilogues_[index] : nullptr;
  packed.run(block, share.first_channel, share.last_channel);
}

// Row by row: what is at hand is a few thousand channels at most. A convolution that no tap reaches
// is its bias.
void PixelRun::run_pointwise(std::size_t index, const Share& share, Member& member) const {
  const Stage& stage = evaluator_.wavefront_.stages[index];
  const PixelOp& op = evaluator_.graph_.ops[static_cast<std::size_t>(stage.op)];
  const Isa isa = evaluator_.isa_;
  const int first = share.first_channel;
  const auto count = static_cast<std::size_t>(share.last_channel - first);
  PixelOperand source = op.source;
  std::vector<float> bias;
  if (op.conv) {
    for (int c = 0; c < op.channels; ++c) bias.push_back(op.bias_at(c));
    source.kind = PixelOperand::constant;
    source.data = bias.data();
  }
  const Operand from = operand(source, stage.first + first);
  std::vector<Operand> operands;
  operands.reserve(op.steps.size());
  for (const PixelStep& step : op.steps) {
    operands.push_back(step.unary ? Operand{} : operand(step.operand, stage.first + first));
  }
  Image out = image(op.out);
  out.data += op.first + stage.first + first;
  const auto at = [](const Operand& operand, const ConvPixel& pixel) {
    return RowOperand{operand.data + pixel.sample * operand.sample + pixel.y * operand.row +
                          pixel.x * operand.pixel,
                      static_cast<std::size_t>(operand.channel)};
  };
  const std::vector<ConvPixel>& pixels = member.pixels[evaluator_.ready_[index].pixels];
  for (int r = share.first_row; r < share.last_row; ++r) {
    const ConvPixel& pixel = pixels[static_cast<std::size_t>(r)];
    float* to = out.data + pixel.sample * out.sample + pixel.y * out.row + pixel.x * out.pixel;
    RowOperand y = at(from, pixel);
    for (std::size_t k = 0; k < op.steps.size(); ++k) {
      const PixelStep& step = op.steps[k];
      if (step.unary) {
        if (y.step == 0) {
          std::fill(to, to + count, *y.data);
          y = {to, 1};
        }
        FD_KERNELS(isa, kElementwise).unary(step.function, y.data, to, count);
      } else {
        const RowOperand other = at(operands[k], pixel);
        binary_row(step.binary, step.swapped ? other : y, step.swapped ? y : other, to, count, isa);
      }
      y = {to, 1};
    }
    if (y.data == to) continue;
    for (std::size_t c = 0; c < count; ++c) to[c] = y.data[c * y.step];
  }
}

void PixelRun::round_output(std::size_t index, const Share& share, const Member& member) const {
  const Stage& stage = evaluator_.wavefront_.stages[index];
  const PixelOp& op = evaluator_.graph_.ops[static_cast<std::size_t>(stage.op)];
  round_cells(op.out, op.first + stage.first + share.first_channel,
              share.last_channel - share.first_channel,
              member.pixels[evaluator_.ready_[index].pixels].data() + share.first_row,
              share.last_row - share.first_row);
}

// `count` channels from `first`, a multiple of 16, of these pixels.
void PixelRun::round_cells(int map, int first, int count, const ConvPixel* pixels, int rows) const {
  const auto m = static_cast<std::size_t>(map);
  const PixelEvaluator::Cells& cells = evaluator_.cells_[m];
  const Image from = image(map);
  const GemmKernels& kernels = gemm_kernels(evaluator_.precision_, evaluator_.isa_);
  char* to = rounded(map) + (cells.zeros ? cells.rounded_bytes : 0) + 2 * std::ptrdiff_t{first};
  for (int r = 0; r < rows; ++r) {
    const ConvPixel& pixel = pixels[r];
    const std::ptrdiff_t at =
        pixel.sample * from.sample + pixel.y * from.row + pixel.x * from.pixel;
    kernels.round(from.data + at + first, count, to + at / cells.channels * cells.rounded_bytes);
  }
}

Wavefront::Positions PixelRun::due(int colour) const {
  const Wavefront& plan = evaluator_.wavefront_;
  const int group = plan.chosen_in[static_cast<std::size_t>(colour)];
  return plan.positions(static_cast<std::size_t>(group), subtime_);
}

const float* PixelRun::logits(int colour, int k, int sample) const {
  const ChannelAt& first = evaluator_.graph_.logits_of(colour);
  const Wavefront& plan = evaluator_.wavefront_;
  const Image from = image(first.map);
  const Wavefront::Positions p = due(colour);
  const int ring = plan.maps[static_cast<std::size_t>(first.map)].rows;
  const std::int64_t column = p.column - plan.slope * k;
  const std::ptrdiff_t cell = ring == 0 ? 0 : (p.first_row + k) % ring * plan.width + column;
  const std::ptrdiff_t row = std::ptrdiff_t{k} * samples_ + sample;
  return from.data + sample * from.sample + row * from.row + cell * from.pixel + first.channel;
}

void PixelRun::set_pixel(int row, int column, int colour, int sample, float value) {
  const Image to = image(0);
  const int ring = evaluator_.wavefront_.maps[0].rows;
  const ConvPixel pixel{sample, 0,
                        std::ptrdiff_t{row % ring} * evaluator_.wavefront_.width + column};
  to.data[pixel.sample * to.sample + pixel.x * to.pixel + colour] = value;
  if (evaluator_.rounds(0)) round_cells(0, 0, evaluator_.graph_.colours, &pixel, 1);
}

}  // namespace fd
