// What a captured graph is made of, and whether the graph loop can hold it.
#pragma once

#include <cstddef>

#include "cuda/graph_driver.h"

namespace fd {

// "host function": for messages.
const char* node_kind_name(NodeKind kind);

// What CUDA lets a while node's body hold, and a child graph in it.
bool allowed_in_loop(NodeKind kind);
// What CUDA lets a child graph outside of one hold.
bool allowed_in_child(NodeKind kind);
inline bool allowed_anywhere(NodeKind) { return true; }

// The nodes that run when the graph does: those of its child graphs instead of the child nodes. A
// conditional node counts as one. The first node of a kind that is not allowed: InvalidArgument,
// "name: expected a graph of ..., got one with a host function node".
std::size_t count_nodes(GraphDriver& driver, const char* name, GraphHandle graph,
                        bool (*allowed)(NodeKind));

}  // namespace fd
