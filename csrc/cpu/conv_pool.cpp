// A convolution whose outputs are pooled while they are at hand. It is made cell by cell, each of
// whole windows, in the thread's own scratch, where the pool reads it: the full image is never in
// memory. The bits are those of a convolution and a pool behind it.

#include <numeric>

#include "cpu/conv_algorithms.h"
#include "cpu/elementwise.h"

namespace fd {
namespace {

// Of a cell, 128 KiB: that stays in L2 beside what an algorithm works with.
constexpr std::ptrdiff_t kCellFloats = 32 * 1024;

// The outputs cut into cells of one size, smaller ones at the far edges. Either `samples` is 1 or a
// cell holds whole images.
struct Cells {
  int samples, rows, columns;               // of a cell
  std::ptrdiff_t groups, bands, in_a_band;  // how many: of samples, of rows, of columns

  std::ptrdiff_t count() const { return groups * bands * in_a_band; }
  std::ptrdiff_t outputs() const { return std::ptrdiff_t{samples} * rows * columns; }
  std::ptrdiff_t most_of_a_part(int parts) const {
    return (count() + parts - 1) / parts * outputs();
  }
};

class PooledConv final : public Conv {
 public:
  PooledConv(const ConvShape& shape, Isa isa, std::unique_ptr<RegionConv> conv)
      : shape_(shape), isa_(isa), conv_(std::move(conv)) {}

  std::size_t scratch_floats(int samples, int block) const override {
    // Cells for more parts are no larger.
    const std::ptrdiff_t cell = cells(samples, block, 1).outputs() * shape_.out_channels;
    return conv_->scratch_floats(samples, block) + round_up(static_cast<std::size_t>(cell), 16);
  }
  std::size_t weight_bytes() const override { return conv_->weight_bytes(); }
  void run(const ConvCall& call) const override;

 private:
  Cells cells_of(int samples, std::ptrdiff_t outputs, int tile) const;
  Cells cells(int samples, int block, int parts) const;
  ConvRegion region(const Cells& cells, int samples, std::ptrdiff_t index) const;
  void pool_region(const ConvRegion& region, const Image& made, const Range& channels,
                   const Image& out) const;

  ConvShape shape_;
  Isa isa_;
  std::unique_ptr<RegionConv> conv_;
};

// Cells of at most that many outputs, but no less than the least that is whole windows and tiles.
Cells PooledConv::cells_of(int samples, std::ptrdiff_t outputs, int tile) const {
  const int height = shape_.out_height, width = shape_.out_width;
  const std::ptrdiff_t least_y = std::min(std::lcm(tile, shape_.pool_y), height);
  const std::ptrdiff_t least_x = std::min(std::lcm(tile, shape_.pool_x), width);
  const std::ptrdiff_t image = std::ptrdiff_t{height} * width;
  std::ptrdiff_t together = 1, rows = height, columns = width;
  if (outputs >= image) {
    together = std::min<std::ptrdiff_t>(outputs / image, std::max(samples, 1));
  } else if (outputs >= least_y * width) {
    rows = outputs / width / least_y * least_y;
  } else {
    rows = least_y;
    columns = std::max(outputs / least_y / least_x, std::ptrdiff_t{1}) * least_x;
  }
  const auto up = [](std::ptrdiff_t n, std::ptrdiff_t by) { return (n + by - 1) / by; };
  return {static_cast<int>(together), static_cast<int>(rows), static_cast<int>(columns),
          up(samples, together),      up(height, rows),       up(width, columns)};
}

// As large as the cache and one block of work allow; where parts share them, as large as leaves the
// busiest part the least.
Cells PooledConv::cells(int samples, int block, int parts) const {
  const ConvGrain grain = conv_->grain(block);
  const std::ptrdiff_t most = std::max(kCellFloats / shape_.out_channels, grain.outputs);
  const std::ptrdiff_t all = std::ptrdiff_t{samples} * shape_.out_height * shape_.out_width;
  Cells best = cells_of(samples, most, grain.tile);
  for (int each = 1; parts > 1 && each <= 4; ++each) {  // cells of a part
    const std::ptrdiff_t fair = (all + parts * each - 1) / (parts * each);
    const Cells smaller = cells_of(samples, std::min(most, fair), grain.tile);
    if (smaller.most_of_a_part(parts) < best.most_of_a_part(parts)) best = smaller;
  }
  return best;
}

ConvRegion PooledConv::region(const Cells& cells, int samples, std::ptrdiff_t index) const {
  const int sample = static_cast<int>(index / cells.in_a_band / cells.bands) * cells.samples;
  const int y = static_cast<int>(index / cells.in_a_band % cells.bands) * cells.rows;
  const int x = static_cast<int>(index % cells.in_a_band) * cells.columns;
  return {sample,
          std::min(cells.samples, samples - sample),
          y,
          x,
          std::min(cells.rows, shape_.out_height - y),
          std::min(cells.columns, shape_.out_width - x)};
}

void PooledConv::pool_region(const ConvRegion& region, const Image& made, const Range& channels,
                             const Image& out) const {
  PoolCall call;
  call.kind = shape_.pool;
  call.samples = region.samples;
  call.channels = static_cast<int>(channels.end - channels.begin);
  call.height = region.rows, call.width = region.columns;
  call.kernel_y = call.stride_y = shape_.pool_y;
  call.kernel_x = call.stride_x = shape_.pool_x;
  call.out_height = region.rows / shape_.pool_y, call.out_width = region.columns / shape_.pool_x;
  call.in = {made.data + channels.begin, made.sample, made.row, made.pixel};
  call.out = out;
  call.out.data += region.sample * out.sample + region.y / shape_.pool_y * out.row +
                   region.x / shape_.pool_x * out.pixel + channels.begin;
  pool(call, isa_);
}

void PooledConv::run(const ConvCall& call) const {
  if (call.samples < 1) return;
  const Share whole;
  const Share of_channels = call.split_channels ? call.share : whole;
  const Share of_cells = call.split_channels ? whole : call.share;
  const Range channels = conv_->channels(of_channels);
  if (channels.begin == channels.end) return;
  const Cells cells = this->cells(call.samples, call.block, of_cells.parts);
  const Range mine = part_of(cells.count(), of_cells);
  float* const cell = call.scratch + conv_->scratch_floats(call.samples, call.block);
  ConvCall make = call;
  make.share = of_channels;
  for (std::ptrdiff_t index = mine.begin; index < mine.end; ++index) {
    const ConvRegion region = this->region(cells, call.samples, index);
    Image made;
    made.pixel = shape_.out_channels;
    made.row = made.pixel * region.columns;
    made.sample = made.row * region.rows;
    // To the algorithm an image that has the region's corner at the cell's begin.
    made.data = cell;
    make.out = made;
    make.out.data -= region.sample * made.sample + region.y * made.row + region.x * made.pixel;
    conv_->run_region(make, region);
    pool_region(region, made, channels, call.out);
  }
}

}  // namespace

std::unique_ptr<Conv> make_pooled_conv(const ConvShape& shape, Isa isa,
                                       std::unique_ptr<RegionConv> conv) {
  return std::make_unique<PooledConv>(shape, isa, std::move(conv));
}

}  // namespace fd
