// The sampling loop: noise, network, guidance, the table's row, masks; every row, all in one call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cpu_features.h"
#include "sampling/loop_memory.h"
#include "sampling/request.h"
#include "sampling/stepper.h"

namespace fd {

// x and x0 after a row, valid during the callback.
class RowView {
 public:
  virtual ~RowView() = default;
  virtual std::size_t rows_done() const = 0;
  virtual const float* x() const = 0;     // [n, C, H, W], mixed for the next row
  virtual bool has_x0() const = 0;        // whether the row says how x0 follows
  virtual void x0(float* out) const = 0;  // [n, C, H, W], clamped to the row's bounds
};

struct LoopShape {
  std::size_t channels = 0, height = 0, width = 0;
  std::size_t elements() const { return channels * height * width; }
};

// x after all rows of the request's table, or after the one at which it was stopped, into
// out [n, C, H, W]; the number of rows done. At most `threads` threads (0: the default). Allocates
// nothing where `memory` has seen a request as large.
std::size_t run_loop(const SampleRequest& request, const LoopShape& shape, const Stepper& stepper,
                     int threads, Isa isa, LoopMemory& memory, float* out);

}  // namespace fd
