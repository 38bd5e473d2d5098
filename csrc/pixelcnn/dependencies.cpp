#include "pixelcnn/dependencies.h"

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

#include "core/error.h"

namespace fd {
namespace {

constexpr const char* kExpected = "a network that sees only pixels before the one it predicts";
constexpr std::size_t kMostTried = 100;  // pixels, for the sentence that refuses a network

std::int64_t& at(Lookahead& a, int map, int channel) {
  return a[static_cast<std::size_t>(map)][static_cast<std::size_t>(channel)];
}

// Calls body(operand channel of the map, output channel) for what an op reads at its own place.
void for_operands(const PixelOp& op, const std::function<void(int, int, int)>& body) {
  const auto visit = [&](const PixelOperand& operand) {
    if (operand.kind != PixelOperand::map) return;
    for (int c = 0; c < op.channels; ++c) {
      body(operand.index, operand.first + c * operand.step, op.first + c);
    }
  };
  if (!op.conv) visit(op.source);
  for (const PixelStep& step : op.steps) {
    if (!step.unary) visit(step.operand);
  }
}

bool is_dense(const PixelOp& op, const PixelTap& tap) {
  for (int o = 0; o < op.channels; ++o) {
    for (int i = 0; i < op.in_channels; ++i) {
      if (op.weight_at(o, i, tap.index) == 0) return false;
    }
  }
  return true;
}

// Beyond every sum of columns: slopes from here on all mean raster order.
std::int64_t raster_slope(const PixelGraph& graph) {
  std::int64_t columns = graph.width;
  for (const PixelOp& op : graph.ops) {
    int most = 0;
    for (const PixelTap& tap : op.taps) most = std::max(most, std::abs(tap.columns));
    columns += most;
  }
  return columns + 1;
}

// Offsets from a pixel to those of the image within a square around it: what a channel depends on.
// Beyond the square nobody looks for the pixel to name.
class Around {
 public:
  Around(const PixelGraph& graph, int row, int column)
      : reach_(std::min(kReach, std::max(graph.height, graph.width) - 1)),
        above_(std::min(reach_, row)),
        below_(std::min(reach_, graph.height - 1 - row)),
        left_(std::min(reach_, column)),
        right_(std::min(reach_, graph.width - 1 - column)) {}
  using Set = std::vector<bool>;
  Set none() const { return Set(static_cast<std::size_t>(side() * side())); }
  int reach() const { return reach_; }
  bool inside(int rows, int columns) const {
    return rows <= above_ && -rows <= below_ && -columns <= left_ && columns <= right_;
  }
  std::size_t index(int rows, int columns) const {
    return static_cast<std::size_t>((rows + reach_) * side() + columns + reach_);
  }
  // All of `from`, moved by a tap.
  void add(const Set& from, const PixelTap& tap, Set* to) const {
    for (int rows = -reach_; rows <= reach_; ++rows) {
      for (int columns = -reach_; columns <= reach_; ++columns) {
        if (!from[index(rows, columns)] || !inside(rows + tap.rows, columns + tap.columns))
          continue;
        (*to)[index(rows + tap.rows, columns + tap.columns)] = true;
      }
    }
  }

 private:
  static constexpr int kReach = 15;
  int side() const { return 2 * reach_ + 1; }
  int reach_, above_, below_, left_, right_;
};

// What a pixel's logits of a colour depend on, by the image's colours. All of it but what only
// paths lead to that leave the square: for the sentence that refuses a network alone.
std::vector<Around::Set> seen_by(const PixelGraph& graph, const Around& around, int colour) {
  std::vector<std::vector<Around::Set>> need;
  for (const int channels : graph.maps) {
    need.emplace_back(static_cast<std::size_t>(channels), around.none());
  }
  const auto set_of = [&](int map, int channel) -> Around::Set& {
    return need[static_cast<std::size_t>(map)][static_cast<std::size_t>(channel)];
  };
  const ChannelAt& first = graph.logits_of(colour);
  for (int l = 0; l < graph.levels; ++l) {
    set_of(first.map, first.channel + l)[around.index(0, 0)] = true;
  }
  const PixelTap here;
  for (auto op = graph.ops.rbegin(); op != graph.ops.rend(); ++op) {
    for_operands(*op, [&](int map, int channel, int of) {
      const Around::Set from = set_of(op->out, of);
      around.add(from, here, &set_of(map, channel));
    });
    // Most channels of a map are read alike: each set is moved once for each tap and channel.
    std::map<Around::Set, std::vector<int>> alike;
    for (int o = 0; o < op->channels; ++o) alike[set_of(op->out, op->first + o)].push_back(o);
    for (const PixelTap& tap : op->taps) {
      for (int i = 0; i < op->in_channels; ++i) {
        for (const auto& [set, channels] : alike) {
          const bool reads = std::any_of(channels.begin(), channels.end(), [&](int o) {
            return op->weight_at(o, i, tap.index) != 0;
          });
          if (reads) around.add(set, tap, &set_of(op->in, op->in_first + i));
        }
      }
    }
  }
  return need[0];
}

std::string pixel_text(const PixelGraph& graph, int row, int column, int colour) {
  return "row " + std::to_string(row) + ", column " + std::to_string(column) +
         (graph.colours > 1 ? ", colour " + std::to_string(colour) : std::string());
}

// Names the nearest pixel that must not be seen from this one, if there is such a one.
void refuse_at(const PixelGraph& graph, const Around& around, int row, int column) {
  for (int colour = 0; colour < graph.colours; ++colour) {
    const std::vector<Around::Set> seen = seen_by(graph, around, colour);
    int least = INT_MAX, up = 0, right = 0, of = 0;
    for (int c = 0; c < graph.colours; ++c) {
      for (int rows = -around.reach(); rows <= around.reach(); ++rows) {
        for (int columns = -around.reach(); columns <= around.reach(); ++columns) {
          const bool later =
              rows < 0 || (rows == 0 && columns > 0) || (rows == 0 && columns == 0 && c >= colour);
          const int distance = std::abs(rows) + std::abs(columns);
          if (!later || distance >= least) continue;
          if (!seen[static_cast<std::size_t>(c)][around.index(rows, columns)]) continue;
          least = distance, up = rows, right = columns, of = c;
        }
      }
    }
    if (least == INT_MAX) continue;
    fail_argument("model", kExpected,
                  "one whose output at " + pixel_text(graph, row, column, colour) +
                      " depends on its input at " +
                      pixel_text(graph, row - up, column + right, of));
  }
}

// Of `size` rows or columns, those that are not like another: the middle and what is near a border.
std::vector<int> unlike(int size, int reach) {
  std::vector<int> found;
  for (int k = 0; k < std::min(size, reach); ++k) found.push_back(k);
  if (size / 2 >= reach && size / 2 < size - reach) found.push_back(size / 2);
  for (int k = std::max(reach, size - reach); k < size; ++k) found.push_back(k);
  return found;
}

// From the middle outwards: near a border paths end that go on elsewhere, and none begins.
[[noreturn]] void refuse(const PixelGraph& graph) {
  const int reach = Around(graph, 0, 0).reach();
  std::vector<std::array<int, 3>> pixels;  // distance from the middle, row, column
  for (const int i : unlike(graph.height, reach)) {
    for (const int j : unlike(graph.width, reach)) {
      pixels.push_back({std::abs(i - graph.height / 2) + std::abs(j - graph.width / 2), i, j});
    }
  }
  std::sort(pixels.begin(), pixels.end());
  pixels.resize(std::min(pixels.size(), kMostTried));
  for (const auto& [distance, row, column] : pixels) {
    refuse_at(graph, Around(graph, row, column), row, column);
  }
  fail_argument("model", kExpected, "one that sees others through layers that reach far");
}

}  // namespace

Lookahead lookahead(const PixelGraph& graph, std::int64_t slope) {
  Lookahead a;
  for (const int channels : graph.maps) {
    a.emplace_back(static_cast<std::size_t>(channels), kNever);
  }
  for (int c = 0; c < graph.colours; ++c) {
    const ChannelAt& first = graph.logits_of(c);
    for (int l = 0; l < graph.levels; ++l) {
      std::int64_t& logit = at(a, first.map, first.channel + l);
      logit = std::max<std::int64_t>(logit, -c);
    }
  }
  for (auto op = graph.ops.rbegin(); op != graph.ops.rend(); ++op) {
    for_operands(*op, [&](int map, int channel, int of) {
      at(a, map, channel) = std::max(at(a, map, channel), at(a, op->out, of));
    });
    std::int64_t most = kNever;
    for (int o = 0; o < op->channels; ++o) most = std::max(most, at(a, op->out, op->first + o));
    if (most == kNever) continue;
    for (const PixelTap& tap : op->taps) {
      const std::int64_t shift = graph.colours * (tap.columns - slope * tap.rows);
      const bool dense = is_dense(*op, tap);
      for (int i = 0; i < op->in_channels; ++i) {
        std::int64_t needed = dense ? most : kNever;
        for (int o = 0; o < op->channels && !dense; ++o) {
          if (op->weight_at(o, i, tap.index) == 0) continue;
          needed = std::max(needed, at(a, op->out, op->first + o));
        }
        if (needed == kNever) continue;
        std::int64_t& in = at(a, op->in, op->in_first + i);
        in = std::max(in, needed + shift);
      }
    }
  }
  return a;
}

bool runs_with(const PixelGraph& graph, const Lookahead& lookahead) {
  for (int c = 0; c < graph.colours; ++c) {
    if (lookahead[0][static_cast<std::size_t>(c)] > -(c + 1)) return false;
  }
  return true;
}

std::int64_t smallest_slope(const PixelGraph& graph) {
  std::int64_t high = raster_slope(graph), low = 0;
  if (!runs_with(graph, lookahead(graph, high))) refuse(graph);
  // What is needed of the image only falls with the slope, since no path to it leads down.
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (runs_with(graph, lookahead(graph, middle))) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace fd
