#include "pixelcnn/evaluator.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace fd {
namespace {

bool same_taps(const std::vector<PixelTap>& a, const std::vector<PixelTap>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.rows == y.rows && x.columns == y.columns;
  });
}

}  // namespace

std::size_t PixelEvaluator::pixel_key(int group, int ring) {
  for (std::size_t i = 0; i < pixel_keys_.size(); ++i) {
    if (pixel_keys_[i].group == group && pixel_keys_[i].ring == ring) return i;
  }
  pixel_keys_.push_back({group, ring});
  return pixel_keys_.size() - 1;
}

std::size_t PixelEvaluator::pointer_key(PointerKey key) {
  for (std::size_t i = 0; i < pointer_keys_.size(); ++i) {
    const PointerKey& other = pointer_keys_[i];
    if (other.group == key.group && other.ring == key.ring &&
        other.stride_bytes == key.stride_bytes && same_taps(other.taps, key.taps)) {
      return i;
    }
  }
  pointer_keys_.push_back(std::move(key));
  return pointer_keys_.size() - 1;
}

PixelEvaluator::PixelEvaluator(const PixelGraph& graph, std::int64_t slope, Precision precision,
                               Isa isa)
    : graph_(graph), wavefront_(wavefront(graph, slope)), precision_(precision), isa_(isa) {
  const auto element = static_cast<std::ptrdiff_t>(sizeof(float));
  for (const MapPlace& map : wavefront_.maps) {
    Cells cells;
    if (map.used) {
      // Positions begin on a vector's boundary.
      cells.channels = static_cast<std::ptrdiff_t>(
          map.channels < 16 ? static_cast<std::size_t>(map.channels)
                            : round_up(static_cast<std::size_t>(map.channels), 16));
      cells.zeros = map.rows > 0;
      cells.positions =
          map.rows > 0 ? static_cast<std::size_t>(map.rows) * static_cast<std::size_t>(graph.width)
                       : static_cast<std::size_t>(wavefront_.rows_at_once);
    }
    cells_.push_back(cells);
  }
  for (const Stage& stage : wavefront_.stages) {
    const PixelOp& op = graph.ops[static_cast<std::size_t>(stage.op)];
    Ready ready;
    ready.pixels = pixel_key(stage.group, stage.ring);
    if (op.conv && !stage.taps.empty()) {
      ready.packed = std::make_unique<PackedStage>(op, stage, precision, isa);
      const auto in = static_cast<std::size_t>(op.in);
      const bool rounded = precision == Precision::bf16 && !ready.packed->patch();
      if (rounded) {
        cells_[in].rounded_bytes =
            static_cast<std::ptrdiff_t>(2 * round_up(static_cast<std::size_t>(graph.maps[in]), 16));
      }
      ready.pointers = pointer_key(
          {stage.group, wavefront_.maps[in].rows,
           rounded ? cells_[in].rounded_bytes : cells_[in].channels * element, stage.taps});
    }
    ready_.push_back(std::move(ready));
  }
  // Rounding writes whole vectors of 16 channels: what another stage makes must begin on one.
  for (const Stage& stage : wavefront_.stages) {
    const PixelOp& op = graph.ops[static_cast<std::size_t>(stage.op)];
    const int first = op.first + stage.first;
    if (rounds(op.out) && first % 16 != 0) {
      fail_argument("precision",
                    "float32 for a network whose channels are due in runs that do not "
                    "begin at multiples of 16",
                    "bf16 for " + (op.path.empty() ? std::string("it") : op.path));
    }
  }
}

double PixelEvaluator::map_bytes(int samples) const {
  double bytes = 1.0 * graph_.colours * graph_.height * graph_.width * sizeof(float) * samples;
  for (const Cells& cells : cells_) {
    bytes +=
        static_cast<double>(cells.positions) *
        static_cast<double>(cells.channels * std::ptrdiff_t{sizeof(float)} + cells.rounded_bytes) *
        samples;
  }
  return bytes;
}

}  // namespace fd
