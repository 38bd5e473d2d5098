// A graph of our own while it grows: every node behind the one before.
#pragma once

#include <cstddef>

#include "cuda/graph_driver.h"

namespace fd {

// Each function throws std::runtime_error with what was being done and the driver's reason.
class GraphChain {
 public:
  GraphChain(GraphDriver& driver, GraphHandle graph) : driver_(driver), graph_(graph) {}

  void begin(const LoopState& state, ConditionHandle condition);
  void start(GraphHandle captured);
  void step(GraphHandle captured);
  void keep_preview(const PreviewCopy& copy);
  void advance(const LoopState& state, ConditionHandle condition);
  // The loop's body.
  GraphHandle repeat(ConditionHandle condition);

  std::size_t own_nodes() const { return own_nodes_; }  // all but those of start and step

 private:
  void add(const char* doing, const GraphDriver::Reason& reason, NodeHandle node);

  GraphDriver& driver_;
  GraphHandle graph_;
  NodeHandle last_ = NodeHandle::none;
  std::size_t own_nodes_ = 0;
};

}  // namespace fd
