// What an autoregressive network needs when: the smallest wavefront, and the proof that it is
// causal.
//
// Colour c of pixel (i, j) is chosen at subtime C * (s * i + j) + c, for C colours and a slope s:
// s = W is raster order, less lets rows overlap. A channel of a map has a *lookahead* A: at (i, j)
// it is computed at subtime C * (s * i + j) - A, which is as late as its readers allow:
//   - colour c's logits have A = -c;
//   - a tap that reads `rows` above and `columns` to the right from a channel with A gives what it
//     reads at least A + C * (columns - s * rows);
//   - the image's colour c is there from subtime C * (s * i + j) + c + 1 on, so that the network
//     can run with slope s exactly where the image's own A is at most -(c + 1) for every c.
// For s beyond every sum of columns that is causality in raster order.
#pragma once

#include <cstdint>
#include <vector>

#include "pixelcnn/graph.h"

namespace fd {

constexpr std::int64_t kNever = INT64_MIN / 4;  // of channels that nothing needs

// [map][channel], for a slope.
using Lookahead = std::vector<std::vector<std::int64_t>>;
Lookahead lookahead(const PixelGraph& graph, std::int64_t slope);

// Whether the image's colours are there when they are read.
bool runs_with(const PixelGraph& graph, const Lookahead& lookahead);

// The smallest slope, 0 where rows do not depend on one another. InvalidArgument for a network that
// is not causal: names a pixel and one that it must not depend on, but does.
std::int64_t smallest_slope(const PixelGraph& graph);

}  // namespace fd
