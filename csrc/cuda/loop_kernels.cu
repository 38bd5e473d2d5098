// The graph loop's kernels that set no condition.
//
// begin and advance: one block, 4 bytes a sample and three words. keep_preview: reads one word of
// the schedule and, on the few rows that are kept, copies batch * elements floats in 16-byte words,
// once for x and once for x0: twice their bytes, no arithmetic. Not yet measured on a GPU.

#include <cuda_runtime_api.h>

#include "cuda/loop_kernels.h"
#include "cuda/loop_state.h"

namespace fd {
namespace {

constexpr std::size_t kMaxPreviewBlocks = 512;  // few, since most rows keep nothing and return

__global__ void __launch_bounds__(kLoopThreads) loop_begin(LoopState state) {
  begin_rows(state, static_cast<std::int32_t>(threadIdx.x), kLoopThreads);
  if (threadIdx.x == 0) begin_loop(state);
}

__global__ void __launch_bounds__(kLoopThreads) loop_advance(LoopState state) {
  advance_rows(state, static_cast<std::int32_t>(threadIdx.x), kLoopThreads);
  if (threadIdx.x == 0) advance_loop(state);
}

__global__ void __launch_bounds__(kLoopThreads) loop_keep_preview(PreviewCopy copy) {
  keep_preview(copy, std::size_t{blockIdx.x} * kLoopThreads + threadIdx.x,
               std::size_t{gridDim.x} * kLoopThreads);
}

}  // namespace

void* begin_kernel() { return reinterpret_cast<void*>(&loop_begin); }
void* advance_kernel() { return reinterpret_cast<void*>(&loop_advance); }
void* keep_preview_kernel() { return reinterpret_cast<void*>(&loop_keep_preview); }

unsigned preview_blocks(std::size_t values, bool in_quads) {
  const std::size_t items = in_quads ? values / 4 : values;
  const std::size_t wanted = (items + kLoopThreads - 1) / kLoopThreads;
  return static_cast<unsigned>(wanted < kMaxPreviewBlocks ? wanted : kMaxPreviewBlocks);
}

}  // namespace fd
