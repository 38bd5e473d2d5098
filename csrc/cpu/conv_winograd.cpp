// Winograd convolutions, a block of tiles at a time (cpu/simd/winograd_body.h): transform the
// tiles' inputs once, then for each panel of output channels multiply at every point and transform
// back. A panel's weights are read in order once a block, from L2 or L3; the transformed input and
// the panel's products stay in L2. Tiles are numbered over samples, rows and columns, so a block
// may hold tiles of several images.
//
// 64 -> 64 channels at 16x16 in AVX-512: a block of 16 tiles (one image) has 147 kB of transformed
// input, 74 kB of products and passes over 590 kB of weights; the sums alone are 147 k vector
// multiply-adds.

#include "cpu/conv_algorithms.h"
#include "cpu/conv_winograd_weights.h"
#include "cpu/dispatch.h"

namespace fd {
namespace {

class WinogradConv final : public RegionConv {
 public:
  WinogradConv(const ConvShape& shape, int tile, Precision precision, Isa isa, const float* weight,
               const float* bias)
      : RegionConv(shape),
        tile_(tile),
        points_((tile + 2) * (tile + 2)),
        layout_{precision == Precision::bf16},
        kernels_(kernels_of(precision, isa)),
        steps_(tile == 2 ? kernels_.f2 : kernels_.f4),
        panel_(kPanelVectors * kernels_.lanes),
        tiles_y_(divide_up(shape.out_height, tile)),
        tiles_x_(divide_up(shape.out_width, tile)),
        padded_in_(round_up(static_cast<std::size_t>(shape.in_channels),
                            static_cast<std::size_t>(kernels_.lanes))),
        padded_out_(round_up(static_cast<std::size_t>(shape.out_channels),
                             static_cast<std::size_t>(kernels_.lanes))),
        weights_(padded_out_ * channel_bytes()),
        bias_(padded_out_ * sizeof(float)),
        zeros_(padded_in_ * sizeof(float)) {
    pack_winograd_weights(shape, tile, layout_, panel_, kernels_.lanes, weight, &weights_);
    if (bias) std::copy(bias, bias + shape.out_channels, static_cast<float*>(bias_.at(0)));
  }

  std::size_t scratch_floats(int samples, int block) const override {
    return layout(nullptr, resolve(samples, block)).floats;
  }
  std::size_t weight_bytes() const override { return weights_.size(); }
  ConvGrain grain(int block) const override {
    return {tile_, std::ptrdiff_t{wanted(block)} * tile_ * tile_};
  }
  Range channels(const Share& share) const override {
    const Range panels = this->panels(share);
    const std::ptrdiff_t most = shape_.out_channels;
    return {std::min(panels.begin * panel_, most), std::min(panels.end * panel_, most)};
  }
  void run_region(const ConvCall& call, const ConvRegion& region) const override;

 private:
  struct Pieces {
    const float** from;
    WinogradTile* places;
    char* v;
    float* m;
    std::size_t floats;
  };

  static const WinogradKernels& kernels_of(Precision precision, Isa isa) {
#if defined(FD_HAVE_X86_SIMD)
    if (precision == Precision::bf16) return kWinogradAvx512Bf16;
#endif
    static_cast<void>(precision);
    return FD_KERNELS(isa, kWinograd);
  }

  // Of all points of one output channel.
  std::size_t channel_bytes() const {
    return static_cast<std::size_t>(points_) *
           static_cast<std::size_t>(layout_.depth(shape_.in_channels)) * sizeof(float);
  }
  // Elements of a tile's row of v.
  std::ptrdiff_t v_tile() const {
    return static_cast<std::ptrdiff_t>(padded_in_) / layout_.channels_per_element();
  }
  // Points lie a cache line apart from multiples of 4 KiB: a tile is written to all of them at
  // once, and they must not share a set of the first cache.
  std::ptrdiff_t v_point(int block) const {
    return static_cast<std::ptrdiff_t>(round_up(static_cast<std::size_t>(block * v_tile()), 16)) +
           16;
  }
  std::ptrdiff_t m_point(int block) const { return std::ptrdiff_t{block} * panel_ + 16; }

  int wanted(int block) const {
    return block_of(block, tile_ == 4 ? ConvAlgorithm::winograd4 : ConvAlgorithm::winograd2);
  }
  int resolve(int samples, int block) const {
    const std::ptrdiff_t all = std::ptrdiff_t{samples} * tiles_y_ * tiles_x_;
    return static_cast<int>(
        std::min<std::ptrdiff_t>(wanted(block), std::max<std::ptrdiff_t>(all, 1)));
  }
  Range panels(const Share& share) const {
    return part_of(divide_up(shape_.out_channels, panel_), share);
  }

  Pieces layout(float* base, int block) const {
    Scratch scratch(base);
    const auto tiles = static_cast<std::size_t>(block), points = static_cast<std::size_t>(points_);
    Pieces pieces;
    pieces.from = scratch.take<const float*>(tiles * points);
    pieces.places = scratch.take<WinogradTile>(tiles);
    pieces.v = scratch.take<char>(points * static_cast<std::size_t>(v_point(block)) * 4);
    pieces.m = scratch.take<float>(points * static_cast<std::size_t>(m_point(block)));
    pieces.floats = scratch.floats();
    return pieces;
  }

  void place(const ConvCall& call, const ConvRegion& region, std::ptrdiff_t first, int tiles,
             const Pieces& pieces) const;

  int tile_, points_;
  ElementLayout layout_;
  const WinogradKernels& kernels_;
  const WinogradSteps& steps_;
  int panel_, tiles_y_, tiles_x_;
  std::size_t padded_in_, padded_out_;
  AlignedBytes weights_;  // [panel][point][element][channel]
  AlignedBytes bias_;
  AlignedBytes zeros_;  // a pixel outside the image
};

// Where the region's tiles first ... first + tiles - 1 read and write.
void WinogradConv::place(const ConvCall& call, const ConvRegion& region, std::ptrdiff_t first,
                         int tiles, const Pieces& pieces) const {
  const int n = tile_ + 2;
  const int rows = divide_up(region.rows, tile_), columns = divide_up(region.columns, tile_);
  const float** from = pieces.from;
  for (int t = 0; t < tiles; ++t) {
    const std::ptrdiff_t index = first + t;
    const std::ptrdiff_t sample = region.sample + index / columns / rows;
    const int y = region.y + static_cast<int>(index / columns % rows) * tile_;
    const int x = region.x + static_cast<int>(index % columns) * tile_;
    pieces.places[t] = {{sample, y, x},
                        std::min(tile_, shape_.out_height - y),
                        std::min(tile_, shape_.out_width - x)};
    for (int i = 0; i < n; ++i) {
      const int in_y = y - shape_.padding_y + i;
      const float* row = call.in.data + sample * call.in.sample + in_y * call.in.row;
      const bool row_inside = in_y >= 0 && in_y < shape_.height;
      for (int j = 0; j < n; ++j) {
        const int in_x = x - shape_.padding_x + j;
        *from++ = row_inside && in_x >= 0 && in_x < shape_.width
                      ? row + in_x * call.in.pixel
                      : static_cast<const float*>(zeros_.at(0));
      }
    }
  }
}

void WinogradConv::run_region(const ConvCall& call, const ConvRegion& region) const {
  if (region.samples < 1) return;
  const Share whole;
  const Range panels = this->panels(call.split_channels ? call.share : whole);
  const Range tiles = part_of(std::ptrdiff_t{region.samples} * divide_up(region.rows, tile_) *
                                  divide_up(region.columns, tile_),
                              call.split_channels ? whole : call.share);
  if (panels.begin == panels.end) return;
  const int most = resolve(call.samples, call.block);
  const Pieces pieces = layout(call.scratch, most);
  WinogradBlock block;
  block.channels = shape_.in_channels;
  block.from = pieces.from;
  block.v = pieces.v;
  block.v_point = v_point(most);
  block.v_tile = v_tile();
  block.m = pieces.m;
  block.m_point = m_point(most);
  block.places = pieces.places;
  for (std::ptrdiff_t first = tiles.begin; first < tiles.end; first += most) {
    block.tiles = static_cast<int>(std::min<std::ptrdiff_t>(most, tiles.end - first));
    place(call, region, first, block.tiles, pieces);
    block.target = {};
    steps_.input(block);
    for (std::ptrdiff_t panel = panels.begin; panel < panels.end; ++panel) {
      const int channel = static_cast<int>(panel) * panel_;
      block.u = weights_.at(static_cast<std::size_t>(channel) * channel_bytes());
      block.target = {call.out, call.epilogue, static_cast<const float*>(bias_.at(0)) + channel,
                      channel, std::min(panel_, shape_.out_channels - channel)};
      steps_.gemm(block);
      steps_.output(block);
    }
  }
}

}  // namespace

std::unique_ptr<RegionConv> make_winograd_conv(const ConvShape& shape, int tile,
                                               Precision precision, Isa isa, const float* weight,
                                               const float* bias) {
  return std::make_unique<WinogradConv>(shape, tile, precision, isa, weight, bias);
}

}  // namespace fd
