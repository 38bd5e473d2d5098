// What the loop asks of a network: m(x, t, context) for some samples of one request.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/team.h"

namespace fd {

// One evaluation. Under guidance a sample is asked twice a row: with its context and without.
struct Ask {
  std::uint32_t sample = 0;    // of the request
  std::int32_t row = 0;        // of the table
  bool unconditional = false;  // with a context of zeros instead of the sample's
  const float* x = nullptr;    // in_scale * x, float [C, H, W]
  float* m = nullptr;          // to be written, float [C, H, W]
};

// A network bound to the contexts and the table of one request. `predict` is thread-safe.
class Stepper {
 public:
  virtual ~Stepper() = default;

  // The most asks that one call of `predict` takes.
  virtual std::size_t max_asks() const = 0;

  // Answers asks [0, count). All members of the team call it with the same arguments and share the
  // work; when the call returns on a member its own share is done, and after the team's next
  // barrier all is. A team of one does everything. `worker` < workers() names the memory that the
  // call may use: different for calls that run at once, except that members of one team share
  // theirs.
  virtual void predict(const Ask* asks, std::size_t count, Team& team, int worker) const = 0;
  virtual int workers() const = 0;
};

}  // namespace fd
