// What the graph loop is made of: two captured graphs and the caller's arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/graph_driver.h"

namespace fd {

// How the rows are run. automatic: in_graph where the driver can (CUDA 12.4), launches where not.
enum class LoopMode { automatic, in_graph, launches };

// "auto", "while" or "launches"; InvalidArgument otherwise.
LoopMode loop_mode(const std::string& name);
const char* loop_mode_name(LoopMode mode);

// All pointers are device addresses; whoever gives them keeps the memory, and that which the graphs
// use, until the loop is closed.
struct LoopParts {
  GraphHandle step = GraphHandle::none;   // one row: reads rows[b], changes x (and x0)
  GraphHandle start = GraphHandle::none;  // makes x before the first row; may be none
  std::int32_t* rows = nullptr;           // int32 [batch], ours to write: the row of each sample
  std::size_t batch = 0;
  const std::int32_t* count = nullptr;  // int32 [1], read at every launch: how many rows to run
  const float* x = nullptr;             // float32 [batch, elements]
  std::size_t elements = 0;
  const float* x0 = nullptr;               // float32 [batch, elements], or null
  float* previews = nullptr;               // float32 [slots, batch, elements], or null
  float* x0_previews = nullptr;            // the same for x0, or null
  const std::int32_t* schedule = nullptr;  // int32 [at least *count]: the slot for x after row k,
                                           // or -1; null where nothing is kept
  LoopMode mode = LoopMode::automatic;
};

// InvalidArgument names the first part that is missing, misaligned or alone.
void check_loop_parts(const LoopParts& parts);

bool keeps_previews(const LoopParts& parts);
PreviewCopy preview_copy(const LoopParts& parts, const std::int32_t* done);

}  // namespace fd
