#include "pixelcnn/wavefront.h"

#include <algorithm>
#include <functional>
#include <string>

#include "core/error.h"

namespace fd {
namespace {

class Scheduler {
 public:
  Scheduler(const PixelGraph& graph, std::int64_t slope)
      : graph_(graph), a_(lookahead(graph, slope)) {
    if (!runs_with(graph, a_)) {
      fail_argument("slope", "at least " + std::to_string(smallest_slope(graph)),
                    std::to_string(slope));
    }
    w_.slope = slope;
    w_.colours = graph.colours, w_.height = graph.height, w_.width = graph.width;
    w_.rows_at_once = slope == 0 ? graph.height
                                 : static_cast<int>(std::min<std::int64_t>(
                                       graph.height, (graph.width + slope - 1) / slope));
    make_stages();
    place_maps();
    for (int c = 0; c < graph.colours; ++c) w_.chosen_in.push_back(group_of(-c));
    find_waits();
  }
  Wavefront take() { return std::move(w_); }

 private:
  std::int64_t ahead(int map, int channel) const {
    return a_[static_cast<std::size_t>(map)][static_cast<std::size_t>(channel)];
  }
  int group_of(std::int64_t ahead) {
    const auto found = std::find(w_.groups.begin(), w_.groups.end(), ahead);
    if (found != w_.groups.end()) return static_cast<int>(found - w_.groups.begin());
    w_.groups.push_back(ahead);
    return static_cast<int>(w_.groups.size()) - 1;
  }
  void make_stages();
  void find_live(const PixelOp& op, Stage* stage);
  void place_maps();
  void find_waits();
  const PixelOp& op_of(const Stage& stage) const {
    return graph_.ops[static_cast<std::size_t>(stage.op)];
  }
  // What a stage reads: body(map, first channel, channels, tap), the tap null at its own position.
  using Read = std::function<void(int map, int first, int channels, const PixelTap* tap)>;
  void for_reads(const Stage& stage, const Read& body) const;
  int ring_rows(int map) const;

  const PixelGraph& graph_;
  Lookahead a_;
  Wavefront w_;
};

void Scheduler::for_reads(const Stage& stage, const Read& body) const {
  const PixelOp& op = op_of(stage);
  const auto visit = [&](const PixelOperand& operand) {
    if (operand.kind != PixelOperand::map) return;
    body(operand.index, operand.first + stage.first * operand.step,
         operand.step == 0 ? 1 : stage.channels, nullptr);
  };
  if (op.conv) {
    for (const PixelTap& tap : stage.taps) {
      body(op.in, op.in_first + stage.in_first, stage.in_channels, &tap);
    }
  } else {
    visit(op.source);
  }
  for (const PixelStep& step : op.steps) {
    if (!step.unary) visit(step.operand);
  }
}

// Taps and input channels that are not zero for these outputs; one run of channels for all taps.
void Scheduler::find_live(const PixelOp& op, Stage* stage) {
  int low = op.in_channels, high = 0;
  for (const PixelTap& tap : op.taps) {
    bool live = false;
    for (int o = stage->first; o < stage->first + stage->channels; ++o) {
      for (int i = 0; i < op.in_channels; ++i) {
        if (op.weight_at(o, i, tap.index) == 0) continue;
        live = true;
        low = std::min(low, i), high = std::max(high, i + 1);
      }
    }
    if (live) stage->taps.push_back(tap);
  }
  stage->in_first = std::min(low, high), stage->in_channels = std::max(0, high - low);
}

void Scheduler::make_stages() {
  for (std::size_t k = 0; k < graph_.ops.size(); ++k) {
    const PixelOp& op = graph_.ops[k];
    for (int first = 0; first < op.channels;) {
      const std::int64_t due = ahead(op.out, op.first + first);
      int end = first + 1;
      while (end < op.channels && ahead(op.out, op.first + end) == due) ++end;
      if (due != kNever) {
        Stage stage;
        stage.op = static_cast<int>(k);
        stage.first = first, stage.channels = end - first;
        stage.group = group_of(due);
        if (op.conv) find_live(op, &stage);
        w_.stages.push_back(std::move(stage));
      }
      first = end;
    }
  }
}

// The fewest rows such that nothing is overwritten before its last reader came. Row i + rows takes
// the place of row i at column j at subtime C (s (i + rows) + j) - A, which must be after
// C (s (i + k) + j - dx) - A' for every reader with a tap of k rows and dx columns.
int Scheduler::ring_rows(int map) const {
  const std::int64_t colours = w_.colours;
  std::int64_t written = kNever, read = kNever;  // the latest each, as lookaheads' negatives
  const auto& all = a_[static_cast<std::size_t>(map)];
  for (std::size_t c = 0; c < all.size(); ++c) {
    // The image is written when it is chosen.
    const std::int64_t mine = map == 0 ? -static_cast<std::int64_t>(c) : all[c];
    if (all[c] != kNever) written = std::max(written, mine);
  }
  for (const Stage& stage : w_.stages) {
    for_reads(stage, [&](int from, int, int, const PixelTap* tap) {
      if (from != map) return;
      const std::int64_t k = tap != nullptr ? tap->rows : 0, dx = tap != nullptr ? tap->columns : 0;
      const std::int64_t mine = w_.groups[static_cast<std::size_t>(stage.group)];
      read = std::max(read, colours * (w_.slope * k - dx) - mine);
    });
  }
  for (int c = 0; c < w_.colours; ++c) {
    if (graph_.logits_of(c).map == map) read = std::max<std::int64_t>(read, c);
  }
  int rows = 1;
  while (rows < w_.height && colours * w_.slope * rows - written <= read) ++rows;
  return rows;
}

void Scheduler::place_maps() {
  const std::size_t count = graph_.maps.size();
  w_.maps.resize(count);
  std::vector<bool> kept(count, false);
  kept[0] = true;
  std::vector<std::int64_t> due(count, kNever);
  for (std::size_t m = 0; m < count; ++m) {
    w_.maps[m].channels = graph_.maps[m];
    for (const std::int64_t channel : a_[m]) {
      if (channel == kNever) continue;
      if (due[m] != kNever && due[m] != channel) kept[m] = true;
      due[m] = channel;
      w_.maps[m].used = true;
    }
  }
  for (const Stage& stage : w_.stages) {
    for_reads(stage, [&](int map, int, int, const PixelTap* tap) {
      const auto m = static_cast<std::size_t>(map);
      const bool here = tap == nullptr || (tap->rows == 0 && tap->columns == 0);
      if (!here || due[m] != w_.groups[static_cast<std::size_t>(stage.group)]) kept[m] = true;
    });
  }
  for (std::size_t m = 0; m < count; ++m) {
    if (kept[m] && w_.maps[m].used) w_.maps[m].rows = ring_rows(static_cast<int>(m));
  }
  w_.maps[0].used = true;
  w_.maps[0].rows = std::max(w_.maps[0].rows, 1);
  // Rings that meet in a stage at its own position have as many rows: one cell index serves them.
  const auto rings_of = [&](const Stage& stage) {
    std::vector<std::size_t> rings{static_cast<std::size_t>(op_of(stage).out)};
    for_reads(stage, [&](int map, int, int, const PixelTap* tap) {
      if (tap == nullptr) rings.push_back(static_cast<std::size_t>(map));
    });
    return rings;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (Stage& stage : w_.stages) {
      int most = 0;
      for (const std::size_t m : rings_of(stage)) most = std::max(most, w_.maps[m].rows);
      stage.ring = most;
      for (const std::size_t m : rings_of(stage)) {
        if (w_.maps[m].rows == 0 || w_.maps[m].rows == most) continue;
        w_.maps[m].rows = most;
        changed = true;
      }
    }
  }
}

// A stage's share of the work is a range of its channels; it follows on without waiting where all
// that it reads, since the last wait, is the same range of stages like it.
void Scheduler::find_waits() {
  struct Written {
    int map, first, channels, group;
  };
  std::vector<Written> fresh;
  for (Stage& stage : w_.stages) {
    const PixelOp& op = op_of(stage);
    const int first = op.first + stage.first;
    bool waits = false;
    for_reads(stage, [&](int map, int from, int channels, const PixelTap* tap) {
      for (const Written& other : fresh) {
        if (other.map != map || from >= other.first + other.channels ||
            other.first >= from + channels) {
          continue;
        }
        const bool mine = tap == nullptr && other.group == stage.group && other.first == from &&
                          other.channels == channels && channels == stage.channels;
        waits = waits || !mine;
      }
    });
    stage.waits = waits;
    if (waits) fresh.clear();
    fresh.push_back({op.out, first, stage.channels, stage.group});
  }
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

}  // namespace

std::int64_t Wavefront::first_subtime() const {
  std::int64_t most = 0;
  for (const std::int64_t ahead : groups) most = std::max(most, ahead);
  return -most;
}

Wavefront::Positions Wavefront::positions(std::size_t group, std::int64_t subtime) const {
  Positions found;
  const std::int64_t due = subtime + groups[group];
  if (due < 0 || due % colours != 0) return found;
  const std::int64_t time = due / colours;  // slope * row + column
  if (slope == 0) {
    if (time < width) found = {0, height - 1, time};
    return found;
  }
  const std::int64_t first = std::max<std::int64_t>(0, floor_divide(time - width, slope) + 1);
  const std::int64_t last = std::min<std::int64_t>(height - 1, time / slope);
  if (first > last) return found;
  found = {static_cast<int>(first), static_cast<int>(last), time - slope * first};
  return found;
}

Wavefront wavefront(const PixelGraph& graph, std::int64_t slope) {
  return Scheduler(graph, slope).take();
}

}  // namespace fd
