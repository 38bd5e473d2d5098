// A vector of which only the first lanes count. Included by the bodies after their vec_*.h; rules
// as in noise_body.h.
#pragma once

namespace fd {
namespace {

alignas(64) constexpr float kLaneIndex[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static_assert(kLanes <= 16, "kLaneIndex has an index for every lane");

// a in the first `count` lanes, `other` in the rest.
inline F32 first_lanes_or(F32 a, std::size_t count, F32 other) {
  return select_less(load(kLaneIndex), set1(static_cast<float>(count)), a, other);
}

}  // namespace
}  // namespace fd
