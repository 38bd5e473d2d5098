// The kernels of the graph loop, as what a kernel node asks for: the address of each one's host
// side. Only in builds with CUDA.
//
// Those that set a graph's condition stand in a file of their own: a driver that knows no
// conditions can't load that file's module, and would otherwise lose the others with it.
#pragma once

#include <cstddef>

namespace fd {

constexpr unsigned kLoopThreads = 256;

// One block of kLoopThreads.
void* begin_kernel();          // (LoopState)
void* advance_kernel();        // (LoopState)
void* begin_while_kernel();    // (LoopState, cudaGraphConditionalHandle)
void* advance_while_kernel();  // (LoopState, cudaGraphConditionalHandle)

// Any number of blocks of kLoopThreads.
void* keep_preview_kernel();  // (PreviewCopy)

// The blocks with which keep_preview is launched for so many values.
unsigned preview_blocks(std::size_t values, bool in_quads);

}  // namespace fd
