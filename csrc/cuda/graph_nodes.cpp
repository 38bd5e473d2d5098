#include "cuda/graph_nodes.h"

#include <string>
#include <vector>

#include "core/error.h"
#include "cuda/graph_handles.h"

namespace fd {
namespace {

const char* kinds_expected(bool (*allowed)(NodeKind)) {
  return allowed == &allowed_in_loop
             ? "a graph of kernels, copies, fills and child graphs alone, which a loop inside a "
               "graph can hold (mode 'launches' takes others too)"
             : "a graph without allocations and conditions, which can be a child of another (mode "
               "'launches' takes others too)";
}

}  // namespace

const char* node_kind_name(NodeKind kind) {
  switch (kind) {
    case NodeKind::kernel:
      return "kernel";
    case NodeKind::copy:
      return "memory copy";
    case NodeKind::fill:
      return "memory fill";
    case NodeKind::empty:
      return "empty";
    case NodeKind::child:
      return "child graph";
    case NodeKind::conditional:
      return "conditional";
    case NodeKind::host_function:
      return "host function";
    case NodeKind::event_wait:
      return "event wait";
    case NodeKind::event_record:
      return "event record";
    case NodeKind::semaphore_signal:
      return "semaphore signal";
    case NodeKind::semaphore_wait:
      return "semaphore wait";
    case NodeKind::allocation:
      return "memory allocation";
    case NodeKind::free:
      return "memory free";
    case NodeKind::unknown:
      break;
  }
  return "unknown";
}

// A body may hold conditional nodes, but the step comes into it as a child graph, and those may
// not.
bool allowed_in_loop(NodeKind kind) {
  return kind == NodeKind::kernel || kind == NodeKind::copy || kind == NodeKind::fill ||
         kind == NodeKind::empty || kind == NodeKind::child;
}

bool allowed_in_child(NodeKind kind) {
  return kind != NodeKind::allocation && kind != NodeKind::free && kind != NodeKind::conditional;
}

std::size_t count_nodes(GraphDriver& driver, const char* name, GraphHandle graph,
                        bool (*allowed)(NodeKind)) {
  std::vector<NodeHandle> nodes;
  check_driver("listing the nodes of a captured graph", driver.graph_nodes(graph, &nodes));
  std::size_t count = 0;
  for (const NodeHandle node : nodes) {
    NodeKind kind = NodeKind::unknown;
    check_driver("asking for the kind of a captured node", driver.node_kind(node, &kind));
    if (!allowed(kind)) {
      fail_argument(name, kinds_expected(allowed),
                    std::string("one with a node of kind '") + node_kind_name(kind) + "'");
    }
    if (kind != NodeKind::child) {
      ++count;
      continue;
    }
    GraphHandle child = GraphHandle::none;
    check_driver("opening a child graph of a captured graph", driver.child_graph(node, &child));
    count += count_nodes(driver, name, child, allowed);
  }
  return count;
}

}  // namespace fd
