// All memory of one request, kept from one to the next.
#pragma once

#include <cstddef>
#include <vector>

#include "sampling/loop_memory.h"
#include "sampling/request_values.h"
#include "sampling/worker_memory.h"

namespace fd {

struct Workspace {
  std::vector<WorkerMemory> workers;
  std::vector<float> times;  // of the table's rows
  RequestValues values;
  LoopMemory loop;

  // Gives back what grows with a request, where one has taken so much that allocating it anew does
  // not show beside computing in it.
  void let_go_of_excess() {
    constexpr std::size_t kKept = std::size_t{256} << 20;  // bytes
    if (values.bytes() > kKept) values = RequestValues();
    if (loop.bytes() > kKept) loop = LoopMemory();
  }
};

}  // namespace fd
