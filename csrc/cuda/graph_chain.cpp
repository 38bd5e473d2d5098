#include "cuda/graph_chain.h"

#include "cuda/graph_handles.h"

namespace fd {

void GraphChain::add(const char* doing, const GraphDriver::Reason& reason, NodeHandle node) {
  check_driver(doing, reason);
  last_ = node;
}

void GraphChain::begin(const LoopState& state, ConditionHandle condition) {
  NodeHandle node = NodeHandle::none;
  const auto reason = driver_.add_begin(graph_, last_, state, condition, &node);
  add("adding begin to the graph loop", reason, node);
  ++own_nodes_;
}

void GraphChain::start(GraphHandle captured) {
  NodeHandle node = NodeHandle::none;
  const auto reason = driver_.add_child(graph_, last_, captured, &node);
  add("adding the start graph to the graph loop", reason, node);
}

void GraphChain::step(GraphHandle captured) {
  NodeHandle node = NodeHandle::none;
  const auto reason = driver_.add_child(graph_, last_, captured, &node);
  add("adding the step graph to the graph loop", reason, node);
}

void GraphChain::keep_preview(const PreviewCopy& copy) {
  NodeHandle node = NodeHandle::none;
  const auto reason = driver_.add_keep_preview(graph_, last_, copy, &node);
  add("adding keep_preview to the graph loop", reason, node);
  ++own_nodes_;
}

void GraphChain::advance(const LoopState& state, ConditionHandle condition) {
  NodeHandle node = NodeHandle::none;
  const auto reason = driver_.add_advance(graph_, last_, state, condition, &node);
  add("adding advance to the graph loop", reason, node);
  ++own_nodes_;
}

GraphHandle GraphChain::repeat(ConditionHandle condition) {
  NodeHandle node = NodeHandle::none;
  GraphHandle body = GraphHandle::none;
  const auto reason = driver_.add_while(graph_, last_, condition, &node, &body);
  add("adding the while node to the graph loop", reason, node);
  ++own_nodes_;
  return body;
}

}  // namespace fd
