// The graph loop's kernels that say whether its while node goes on; from CUDA 12.4.
//
// One block each. The word that cancels lies in host memory: one read over the bus a row, by one
// thread, with nothing beside it. Not yet measured on a GPU.

#include <cuda_runtime_api.h>

#include "cuda/loop_kernels.h"
#include "cuda/loop_state.h"

namespace fd {
namespace {

__global__ void __launch_bounds__(kLoopThreads)
    loop_begin_while(LoopState state, cudaGraphConditionalHandle condition) {
  begin_rows(state, static_cast<std::int32_t>(threadIdx.x), kLoopThreads);
  if (threadIdx.x != 0) return;
  begin_loop(state);
  cudaGraphSetConditional(condition, loop_goes_on(state) ? 1 : 0);
}

__global__ void __launch_bounds__(kLoopThreads)
    loop_advance_while(LoopState state, cudaGraphConditionalHandle condition) {
  advance_rows(state, static_cast<std::int32_t>(threadIdx.x), kLoopThreads);
  if (threadIdx.x != 0) return;
  advance_loop(state);
  cudaGraphSetConditional(condition, loop_goes_on(state) ? 1 : 0);
}

}  // namespace

void* begin_while_kernel() { return reinterpret_cast<void*>(&loop_begin_while); }
void* advance_while_kernel() { return reinterpret_cast<void*>(&loop_advance_while); }

}  // namespace fd
