#include "cpu/attention.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "cpu/attention_kernels.h"
#include "cpu/dispatch.h"

namespace fd {
namespace {

void check(const AttentionCall& call) {
  if (call.keys < 1) fail_argument("keys", "at least 1", std::to_string(call.keys));
  if (call.width < 1) fail_argument("width", "at least 1", std::to_string(call.width));
  if (call.share.parts < 1 || call.share.part < 0 || call.share.part >= call.share.parts) {
    fail_argument("share", "0 <= part < parts",
                  std::to_string(call.share.part) + " of " + std::to_string(call.share.parts));
  }
  if (!call.q.data || !call.k.data || !call.v.data || !call.out) {
    fail_argument("q, k, v, out", "pointers to heads", "null");
  }
  if (!call.scratch) {
    fail_argument("scratch", "a pointer to attention_scratch_floats() values", "null");
  }
}

}  // namespace

std::size_t attention_scratch_floats(const AttentionCall& call) {
  const auto rows = static_cast<std::size_t>(call.width + call.value_width + kAttentionKeys);
  return rows * kAttentionQueries;
}

void attention(const AttentionCall& call, Isa isa) {
  if (call.samples <= 0 || call.heads <= 0 || call.queries <= 0 || call.value_width <= 0) return;
  check(call);
  const AttentionKernels& kernels = FD_KERNELS(isa, kAttention);
  const std::ptrdiff_t heads = std::ptrdiff_t{call.samples} * call.heads;
  // The largest block of queries that gives every part something to do.
  int queries = kernels.lanes * kernels.vectors;
  const auto blocks = [&] { return (call.queries + queries - 1) / queries; };
  while (queries > kernels.lanes && heads * blocks() < call.share.parts) queries /= 2;
  const std::ptrdiff_t total = heads * blocks();
  const std::ptrdiff_t last = total * (call.share.part + 1) / call.share.parts;
  for (std::ptrdiff_t i = total * call.share.part / call.share.parts; i < last; ++i) {
    const std::ptrdiff_t head = i / blocks();
    const int first = static_cast<int>(i % blocks()) * queries;
    kernels.block(call, static_cast<int>(head / call.heads), static_cast<int>(head % call.heads),
                  first, std::min(queries, call.queries - first));
  }
}

}  // namespace fd
