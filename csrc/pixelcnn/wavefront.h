// A pixel graph scheduled for one slope: which ops run together, how long what they make is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pixelcnn/dependencies.h"
#include "pixelcnn/graph.h"

namespace fd {

// How a map is kept. `rows` 0: only for the subtime in which it is made, a row of channels for each
// position at hand. Else a ring: row i of the image stands in slot i % rows, long enough for every
// reader.
struct MapPlace {
  int channels = 0;
  int rows = 0;
  bool used = false;
};

// A run of an op's channels that are due at the same time: the op's channels [first, first +
// channels), counted from its own first one.
struct Stage {
  int op = -1;
  int first = 0, channels = 0;
  int group = -1;  // into Wavefront::groups
  // Convolutions: what of the op's input channels and taps is not zero for them.
  int in_first = 0, in_channels = 0;
  std::vector<PixelTap> taps;
  int ring = 0;  // rows of the rings that it writes and that its operands stand in; 0: none
  // Whether others of a team may still be writing what it reads: where it reads more than what the
  // same thread's share of earlier stages made.
  bool waits = true;
};

struct Wavefront {
  std::int64_t slope = 0;
  int colours = 1, height = 1, width = 1;
  std::vector<std::int64_t> groups;  // lookaheads
  std::vector<MapPlace> maps;
  std::vector<Stage> stages;
  std::vector<int> chosen_in;  // by colour: the group of its logits
  int rows_at_once = 1;        // positions of a group in one subtime, at most

  std::int64_t first_subtime() const;
  std::int64_t last_subtime() const { return colours * (slope * (height - 1) + width) - 1; }
  // Of a group at a subtime: the first and last row that have a position, and the first's column;
  // the next row's is `slope` less. None where first > last.
  struct Positions {
    int first_row = 0, last_row = -1;
    std::int64_t column = 0;
  };
  Positions positions(std::size_t group, std::int64_t subtime) const;
};

// slope: at least smallest_slope(graph).
Wavefront wavefront(const PixelGraph& graph, std::int64_t slope);

}  // namespace fd
