// What the driver hands out, given back when it goes out of scope; and how a driver's reason
// becomes an error.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "cuda/graph_driver.h"

namespace fd {

// Throws std::runtime_error, "what was being done: the driver's words", where a call did not work.
inline void check_driver(const char* doing, const GraphDriver::Reason& reason) {
  if (!reason.empty()) throw std::runtime_error(std::string(doing) + ": " + reason);
}

template <class Handle, void (GraphDriver::*release)(Handle)>
class Owned {
 public:
  explicit Owned(GraphDriver& driver) : driver_(&driver) {}
  Owned(Owned&& other) noexcept
      : driver_(other.driver_), handle_(std::exchange(other.handle_, Handle{})) {}
  Owned& operator=(Owned&&) = delete;
  ~Owned() { reset(); }

  Handle get() const { return handle_; }
  // Where the driver puts a new one; holds none yet.
  Handle* out() { return &handle_; }
  void reset() noexcept {
    if (handle_ != Handle{}) (driver_->*release)(std::exchange(handle_, Handle{}));
  }

 private:
  GraphDriver* driver_;
  Handle handle_{};
};

using OwnedGraph = Owned<GraphHandle, &GraphDriver::destroy_graph>;
using OwnedExec = Owned<ExecHandle, &GraphDriver::destroy_exec>;
using OwnedEvent = Owned<EventHandle, &GraphDriver::destroy_event>;
using OwnedWords = Owned<LoopWords*, &GraphDriver::free_words>;
using OwnedCounter = Owned<std::int32_t*, &GraphDriver::free_counter>;

}  // namespace fd
