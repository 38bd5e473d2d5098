// Loops over tensors of any rank and strides, put into the order that is fastest to run: the
// sample is one more dimension; dimensions are sorted by the output's strides; neighbours that step
// as one are joined. Most calls end as one or two loops whose inner one is dense.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <utility>

#include "core/error.h"
#include "ops/image.h"
#include "ops/view.h"

namespace fd {

constexpr int kMaxLoops = kMaxRank + 1;
constexpr int kMaxOperands = 3;  // the output first

struct LoopNest {
  int operands = 1;
  int rank = 1;  // at least 1; the last dimension is the inner one
  std::ptrdiff_t size[kMaxLoops] = {1};
  std::ptrdiff_t stride[kMaxOperands][kMaxLoops] = {};

  std::ptrdiff_t inner() const { return size[rank - 1]; }
  std::ptrdiff_t inner_stride(int operand) const { return stride[operand][rank - 1]; }
};

// What is run over: `count` elements of the inner loop, the first at offset[i] of operand i.
struct Row {
  std::ptrdiff_t offset[kMaxOperands];
  std::size_t count;
};

// The nest of the first `dimensions` dimensions of extent and the sample.
template <class... Views>
LoopNest loop_nest(int samples, const Extent& extent, int dimensions, const Views&... views) {
  static_assert(sizeof...(views) <= kMaxOperands, "one stride array for each");
  if (extent.rank < 0 || extent.rank > kMaxRank) {
    fail_argument("extent.rank", "0 to " + std::to_string(kMaxRank), std::to_string(extent.rank));
  }
  LoopNest nest;
  nest.operands = static_cast<int>(sizeof...(views));
  nest.rank = 0;
  const auto append = [&](std::ptrdiff_t size, std::initializer_list<std::ptrdiff_t> strides) {
    if (size == 1) return;
    int operand = 0;
    for (std::ptrdiff_t stride : strides) nest.stride[operand++][nest.rank] = stride;
    nest.size[nest.rank++] = size;
  };
  append(samples, {views.sample...});
  for (int i = 0; i < dimensions; ++i) append(extent.size[i], {views.stride[i]...});

  // By the output's stride, the largest first; as they stood where those are equal.
  const auto swap = [&](int i, int j) {
    std::swap(nest.size[i], nest.size[j]);
    for (int k = 0; k < nest.operands; ++k) std::swap(nest.stride[k][i], nest.stride[k][j]);
  };
  for (int i = 1; i < nest.rank; ++i) {
    for (int j = i; j > 0 && nest.stride[0][j - 1] < nest.stride[0][j]; --j) swap(j - 1, j);
  }

  int kept = 0;
  for (int i = 1; i < nest.rank; ++i) {
    bool joined = true;
    for (int k = 0; k < nest.operands; ++k) {
      joined = joined && nest.stride[k][kept] == nest.stride[k][i] * nest.size[i];
    }
    if (joined) {
      nest.size[kept] *= nest.size[i];
    } else {
      nest.size[++kept] = nest.size[i];
    }
    for (int k = 0; k < nest.operands; ++k) nest.stride[k][kept] = nest.stride[k][i];
  }
  if (nest.rank > 0) nest.rank = kept + 1;
  if (nest.rank == 0) {  // a single element
    nest.rank = 1;
    nest.size[0] = 1;
    for (int k = 0; k < nest.operands; ++k) nest.stride[k][0] = 1;
  }
  return nest;
}

// The items, of `total`, that a share has.
struct Items {
  std::ptrdiff_t begin, end;
};
inline Items items_of(std::ptrdiff_t total, Share share) {
  // total * part could overflow only beyond any memory.
  return {total * share.part / share.parts, total * (share.part + 1) / share.parts};
}

// Calls body(Row) for the share of the nest: rows in pieces of at most `piece` elements.
template <class Body>
void for_rows(const LoopNest& nest, Share share, std::ptrdiff_t piece, Body&& body) {
  const std::ptrdiff_t inner = nest.inner();
  const std::ptrdiff_t pieces = (inner + piece - 1) / piece;
  std::ptrdiff_t total = pieces;
  for (int i = 0; i + 1 < nest.rank; ++i) total *= nest.size[i];
  const Items items = items_of(total, share);
  if (items.begin >= items.end) return;

  // Where the first row stands; from there on the indices are counted up.
  std::ptrdiff_t index[kMaxLoops] = {}, base[kMaxOperands] = {};
  std::ptrdiff_t rest = items.begin / pieces, at = items.begin % pieces;
  for (int i = nest.rank - 2; i >= 0; --i) {
    index[i] = rest % nest.size[i];
    rest /= nest.size[i];
    for (int k = 0; k < nest.operands; ++k) base[k] += index[i] * nest.stride[k][i];
  }
  for (std::ptrdiff_t item = items.begin; item < items.end; ++item) {
    Row row = {};
    const std::ptrdiff_t first = at * piece;
    for (int k = 0; k < nest.operands; ++k) {
      row.offset[k] = base[k] + first * nest.inner_stride(k);
    }
    row.count = static_cast<std::size_t>(std::min(piece, inner - first));
    body(row);
    if (++at < pieces) continue;
    at = 0;
    for (int i = nest.rank - 2; i >= 0; --i) {
      for (int k = 0; k < nest.operands; ++k) base[k] += nest.stride[k][i];
      if (++index[i] < nest.size[i]) break;
      for (int k = 0; k < nest.operands; ++k) base[k] -= nest.size[i] * nest.stride[k][i];
      index[i] = 0;
    }
  }
}

}  // namespace fd
