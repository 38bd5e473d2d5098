// Direct convolution, any kernel, stride, dilation and groups, transposed or not, as an indirect
// GEMM (cpu/simd/gemm_body.h). No copy of the input is made in float32: each output pixel has a
// pointer per tap. bf16 rounds the input pixels that a part needs into its scratch first.
//
// A transposed convolution of stride s is s_y * s_x plain ones ("phases"), each making the outputs
// whose coordinates have one remainder modulo s, from the taps that reach them. A plain convolution
// is one phase.

#include <vector>

#include "cpu/conv_algorithms.h"
#include "cpu/dispatch.h"

namespace fd {
namespace {

struct Tap {
  int ky, kx;  // in the kernel
  int dy, dx;  // input pixel - phase coordinate * in_step
};

// Outputs (first + i * step) along each axis, i < count.
struct Phase {
  int first_y, first_x, count_y, count_x;
  std::vector<Tap> taps;
  std::size_t weights;  // bytes into the packed weights
};

// Taps along one axis of the phase whose outputs start at `first`: (k, input offset) pairs.
struct AxisTap {
  int k, offset;
};
std::vector<AxisTap> axis_taps(bool transposed, int kernel, int stride, int padding, int dilation,
                               int first) {
  std::vector<AxisTap> taps;
  for (int k = 0; k < kernel; ++k) {
    const int reach = k * dilation;
    if (!transposed) {
      taps.push_back({k, reach - padding});
    } else if ((first + padding - reach) % stride == 0) {
      taps.push_back({k, (first + padding - reach) / stride});
    }
  }
  return taps;
}

class DirectConv final : public RegionConv {
 public:
  DirectConv(const ConvShape& shape, Precision precision, Isa isa, const float* weight,
             const float* bias)
      : RegionConv(shape),
        layout_{precision == Precision::bf16},
        kernels_(kernels_of(precision, isa)),
        group_in_(shape.in_channels / shape.groups),
        group_out_(shape.out_channels / shape.groups),
        panel_(kPanelVectors * kernels_.lanes),
        panels_(divide_up(group_out_, panel_)),
        padded_out_(round_up(static_cast<std::size_t>(group_out_),
                             static_cast<std::size_t>(kernels_.lanes))),
        phases_(make_phases()),
        weights_(packed_bytes()),
        bias_(padded_out_ * static_cast<std::size_t>(shape.groups) * sizeof(float)),
        zeros_(pixel_bytes()) {
    pack(weight);
    for (int c = 0; bias && c < shape.out_channels; ++c) {
      const std::size_t at = static_cast<std::size_t>(c / group_out_) * padded_out_ +
                             static_cast<std::size_t>(c % group_out_);
      static_cast<float*>(bias_.at(0))[at] = bias[c];
    }
  }

  std::size_t scratch_floats(int samples, int block) const override {
    return layout(nullptr, samples, block).floats;
  }
  std::size_t weight_bytes() const override { return weights_.size(); }
  ConvGrain grain(int block) const override { return {1, wanted(block)}; }
  Range channels(const Share& share) const override {
    const Range panels = this->panels(share);
    return {first_channel(panels.begin), first_channel(panels.end)};
  }
  void run_region(const ConvCall& call, const ConvRegion& region) const override;

 private:
  struct Pieces {
    const void** pointers;
    ConvPixel* pixels;
    char* rounded;
    std::size_t floats;
  };

  static const GemmKernels& kernels_of(Precision precision, Isa isa) {
#if defined(FD_HAVE_X86_SIMD)
    if (precision == Precision::bf16) return kGemmAvx512Bf16;
#endif
    static_cast<void>(precision);
    return FD_KERNELS(isa, kGemm);
  }

  int most_taps() const {
    std::size_t most = 0;
    for (const Phase& phase : phases_) most = std::max(most, phase.taps.size());
    return static_cast<int>(most);
  }
  // bf16: a pixel's channels in scratch, each group from an element of its own.
  std::size_t group_bytes() const {
    return round_up(static_cast<std::size_t>(group_in_), 16) * (layout_.bf16 ? 2 : 4);
  }
  std::size_t pixel_bytes() const {
    return layout_.bf16 ? group_bytes() * static_cast<std::size_t>(shape_.groups)
                        : static_cast<std::size_t>(shape_.in_channels) * sizeof(float);
  }

  static int wanted(int block) { return block_of(block, ConvAlgorithm::direct); }
  // Panels are numbered over the groups.
  Range panels(const Share& share) const {
    return part_of(std::ptrdiff_t{panels_} * shape_.groups, share);
  }
  std::ptrdiff_t first_channel(std::ptrdiff_t panel) const {
    return panel / panels_ * group_out_ + panel % panels_ * panel_;
  }

  Pieces layout(float* base, int samples, int block) const {
    Scratch scratch(base);
    const auto rows = static_cast<std::size_t>(wanted(block));
    Pieces pieces;
    pieces.pointers = scratch.take<const void*>(rows * static_cast<std::size_t>(most_taps()));
    pieces.pixels = scratch.take<ConvPixel>(rows);
    const std::size_t in_pixels =
        static_cast<std::size_t>(shape_.height) * static_cast<std::size_t>(shape_.width);
    pieces.rounded = scratch.take<char>(
        layout_.bf16 ? static_cast<std::size_t>(samples) * in_pixels * pixel_bytes() : 0);
    pieces.floats = scratch.floats();
    return pieces;
  }

  std::vector<Phase> make_phases() const {
    const ConvShape& s = shape_;
    const int phases_y = s.transposed ? s.stride_y : 1, phases_x = s.transposed ? s.stride_x : 1;
    std::vector<Phase> phases;
    for (int y = 0; y < phases_y && y < s.out_height; ++y) {
      for (int x = 0; x < phases_x && x < s.out_width; ++x) {
        Phase phase{
            y,  x, divide_up(s.out_height - y, phases_y), divide_up(s.out_width - x, phases_x),
            {}, 0};
        for (const AxisTap& ty :
             axis_taps(s.transposed, s.kernel_y, s.stride_y, s.padding_y, s.dilation_y, y)) {
          for (const AxisTap& tx :
               axis_taps(s.transposed, s.kernel_x, s.stride_x, s.padding_x, s.dilation_x, x)) {
            phase.taps.push_back({ty.k, tx.k, ty.offset, tx.offset});
          }
        }
        phases.push_back(std::move(phase));
      }
    }
    return phases;
  }

  // Of one group of one phase.
  std::size_t group_weight_bytes(const Phase& phase) const {
    return phase.taps.size() * static_cast<std::size_t>(layout_.depth(group_in_)) * padded_out_ *
           sizeof(float);
  }
  std::size_t packed_bytes() {
    std::size_t bytes = 0;
    for (Phase& phase : phases_) {
      phase.weights = bytes;
      bytes += group_weight_bytes(phase) * static_cast<std::size_t>(shape_.groups);
    }
    return bytes;
  }
  void pack(const float* weight);
  void run_rows(const ConvCall& call, const Phase& phase, const Pieces& pieces, int rows,
                Range panels) const;
  void point(const ConvCall& call, const Phase& phase, const Pieces& pieces, int rows) const;
  Range input_pixels(const Phase& phase, const ConvPixel& first, const ConvPixel& last) const;
  void round_input(const ConvCall& call, Range pixels, char* rounded) const;

  ElementLayout layout_;
  const GemmKernels& kernels_;
  int group_in_, group_out_;
  int panel_, panels_;  // channels of a panel; panels of a group
  std::size_t padded_out_;
  std::vector<Phase> phases_;
  AlignedBytes weights_;  // [phase][group][panel][tap][element][channel]
  AlignedBytes bias_;     // [group][padded_out_]
  AlignedBytes zeros_;    // a pixel outside the image
};

void DirectConv::pack(const float* weight) {
  const ConvShape& s = shape_;
  const std::ptrdiff_t taps = std::ptrdiff_t{s.kernel_y} * s.kernel_x;
  // Between neighbours in the output and in the input channel.
  const std::ptrdiff_t out_step = s.transposed ? taps : group_in_ * taps;
  const std::ptrdiff_t in_step = s.transposed ? group_out_ * taps : taps;
  std::vector<float> row(static_cast<std::size_t>(panel_));
  for (const Phase& phase : phases_) {
    char* to = static_cast<char*>(weights_.at(phase.weights));
    for (int group = 0; group < s.groups; ++group) {
      const float* of_group =
          weight + group * (s.transposed ? group_in_ * in_step : group_out_ * out_step);
      for (int first = 0; first < group_out_; first += panel_) {
        const int channels = std::min(panel_, group_out_ - first);
        const int width = divide_up(channels, kernels_.lanes) * kernels_.lanes;
        for (const Tap& tap : phase.taps) {
          const float* from = of_group + first * out_step + tap.ky * s.kernel_x + tap.kx;
          for (int k = 0; k < group_in_; ++k) {
            std::fill(row.begin(), row.end(), 0.0f);
            for (int c = 0; c < channels; ++c) {
              row[static_cast<std::size_t>(c)] = from[c * out_step + k * in_step];
            }
            layout_.put(to, width, k, row.data());
          }
          to += layout_.depth(group_in_) * width * static_cast<std::ptrdiff_t>(sizeof(float));
        }
      }
    }
  }
}

// The input pixels that the phase's outputs from `first` to `last` may read, by whole rows.
Range DirectConv::input_pixels(const Phase& phase, const ConvPixel& first,
                               const ConvPixel& last) const {
  const auto row_of = [&](const ConvPixel& output, int offset) {
    const std::ptrdiff_t y = output.y - phase.first_y;
    const std::ptrdiff_t row =
        (shape_.transposed ? y / shape_.stride_y : y * shape_.stride_y) + offset;
    return output.sample * shape_.height + std::clamp<std::ptrdiff_t>(row, 0, shape_.height - 1);
  };
  if (phase.taps.empty()) return {0, 0};
  int low = phase.taps[0].dy, high = low;
  for (const Tap& tap : phase.taps) {
    low = std::min(low, tap.dy);
    high = std::max(high, tap.dy);
  }
  // Whole samples where there are several: rows of the first and last do not bound those between.
  return {row_of(first, low) * shape_.width, (row_of(last, high) + 1) * shape_.width};
}

void DirectConv::round_input(const ConvCall& call, Range pixels, char* rounded) const {
  const std::ptrdiff_t per_sample = std::ptrdiff_t{shape_.height} * shape_.width;
  for (std::ptrdiff_t pixel = pixels.begin; pixel < pixels.end; ++pixel) {
    const std::ptrdiff_t inside = pixel % per_sample;
    const float* from = call.in.data + pixel / per_sample * call.in.sample +
                        inside / shape_.width * call.in.row + inside % shape_.width * call.in.pixel;
    char* to = rounded + static_cast<std::size_t>(pixel) * pixel_bytes();
    for (int group = 0; group < shape_.groups; ++group) {
      kernels_.round(from + group * group_in_, group_in_, to);
      to += group_bytes();
    }
  }
}

// Where each row's taps are.
void DirectConv::point(const ConvCall& call, const Phase& phase, const Pieces& pieces,
                       int rows) const {
  const int step_y = shape_.transposed ? 1 : shape_.stride_y;
  const int step_x = shape_.transposed ? 1 : shape_.stride_x;
  const int out_step_y = shape_.transposed ? shape_.stride_y : 1;
  const int out_step_x = shape_.transposed ? shape_.stride_x : 1;
  const char* base = layout_.bf16 ? pieces.rounded : reinterpret_cast<const char*>(call.in.data);
  const auto pixel = layout_.bf16 ? static_cast<std::ptrdiff_t>(pixel_bytes())
                                  : call.in.pixel * std::ptrdiff_t{sizeof(float)};
  const auto row =
      layout_.bf16 ? pixel * shape_.width : call.in.row * std::ptrdiff_t{sizeof(float)};
  const auto sample =
      layout_.bf16 ? row * shape_.height : call.in.sample * std::ptrdiff_t{sizeof(float)};
  const void** to = pieces.pointers;
  for (int r = 0; r < rows; ++r) {
    const ConvPixel& at = pieces.pixels[r];
    const std::ptrdiff_t y = (at.y - phase.first_y) / out_step_y * step_y;
    const std::ptrdiff_t x = (at.x - phase.first_x) / out_step_x * step_x;
    const char* of_sample = base + at.sample * sample;
    for (const Tap& tap : phase.taps) {
      const std::ptrdiff_t iy = y + tap.dy, ix = x + tap.dx;
      const bool inside = iy >= 0 && iy < shape_.height && ix >= 0 && ix < shape_.width;
      *to++ = inside ? of_sample + iy * row + ix * pixel : zeros_.at(0);
    }
  }
}

// pieces.pixels[0 .. rows) through the panels.
void DirectConv::run_rows(const ConvCall& call, const Phase& phase, const Pieces& pieces, int rows,
                          Range panels) const {
  point(call, phase, pieces, rows);
  const std::size_t channel_bytes = group_weight_bytes(phase) / padded_out_;
  for (std::ptrdiff_t index = panels.begin; index < panels.end; ++index) {
    const int group = static_cast<int>(index) / panels_;
    const int first = static_cast<int>(index) % panels_ * panel_;
    const std::size_t padded_first =
        static_cast<std::size_t>(group) * padded_out_ + static_cast<std::size_t>(first);
    GemmBlock block;
    block.rows = rows;
    block.taps = static_cast<int>(phase.taps.size());
    block.depth = layout_.depth(group_in_);
    block.a = pieces.pointers;
    block.a_offset_bytes = layout_.bf16
                               ? group * static_cast<std::ptrdiff_t>(group_bytes())
                               : std::ptrdiff_t{group} * group_in_ * std::ptrdiff_t{sizeof(float)};
    block.b = weights_.at(phase.weights + padded_first * channel_bytes);
    block.pixels = pieces.pixels;
    block.target = {call.out, call.epilogue, static_cast<const float*>(bias_.at(0)) + padded_first,
                    first_channel(index), std::min(panel_, group_out_ - first)};
    kernels_.gemm(block);
  }
}

void DirectConv::run_region(const ConvCall& call, const ConvRegion& region) const {
  if (region.samples < 1) return;
  const Share whole;
  const Range panels = this->panels(call.split_channels ? call.share : whole);
  if (panels.begin == panels.end) return;
  const int block = wanted(call.block);
  const Pieces pieces = layout(call.scratch, call.samples, block);
  const Range all = part_of(std::ptrdiff_t{region.samples} * region.rows * region.columns,
                            call.split_channels ? whole : call.share);
  const int step_y = shape_.transposed ? shape_.stride_y : 1;
  const int step_x = shape_.transposed ? shape_.stride_x : 1;
  std::ptrdiff_t before = 0;  // outputs of earlier phases
  for (const Phase& phase : phases_) {
    // A region is of the one phase of a plain convolution, or the whole.
    const int count_y = shape_.transposed ? phase.count_y : region.rows;
    const int count_x = shape_.transposed ? phase.count_x : region.columns;
    const auto pixel_at = [&](std::ptrdiff_t index) -> ConvPixel {
      return {region.sample + index / count_x / count_y,
              region.y + phase.first_y + index / count_x % count_y * step_y,
              region.x + phase.first_x + index % count_x * step_x};
    };
    const std::ptrdiff_t count = std::ptrdiff_t{region.samples} * count_y * count_x;
    const Range mine = {std::clamp<std::ptrdiff_t>(all.begin - before, 0, count),
                        std::clamp<std::ptrdiff_t>(all.end - before, 0, count)};
    before += count;
    if (mine.begin == mine.end) continue;
    if (layout_.bf16) {
      const Range read = input_pixels(phase, pixel_at(mine.begin), pixel_at(mine.end - 1));
      round_input(call, read, pieces.rounded);
    }
    for (std::ptrdiff_t begin = mine.begin; begin < mine.end; begin += block) {
      const int rows = static_cast<int>(std::min<std::ptrdiff_t>(block, mine.end - begin));
      for (int r = 0; r < rows; ++r) pieces.pixels[r] = pixel_at(begin + r);
      run_rows(call, phase, pieces, rows, panels);
    }
  }
}

}  // namespace

std::unique_ptr<RegionConv> make_direct_conv(const ConvShape& shape, Precision precision, Isa isa,
                                             const float* weight, const float* bias) {
  return std::make_unique<DirectConv>(shape, precision, isa, weight, bias);
}

}  // namespace fd
