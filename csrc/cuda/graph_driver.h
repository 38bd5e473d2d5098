// What the graph loop asks of CUDA, with no CUDA header in sight: graph_driver_cuda.cpp answers
// over the runtime API, no_cuda/ says why it can't, tests/cpp/fake_graph_driver.h simulates.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cuda/loop_state.h"

namespace fd {

// Handles of the driver's, each a type of its own; 0 is none.
enum class GraphHandle : std::uintptr_t { none = 0 };       // cudaGraph_t
enum class NodeHandle : std::uintptr_t { none = 0 };        // cudaGraphNode_t
enum class ExecHandle : std::uintptr_t { none = 0 };        // cudaGraphExec_t
enum class EventHandle : std::uintptr_t { none = 0 };       // cudaEvent_t
enum class ConditionHandle : std::uint64_t { none = 0 };    // cudaGraphConditionalHandle
enum class StreamHandle : std::uintptr_t { standard = 0 };  // cudaStream_t; 0: the default one

enum class NodeKind {
  kernel,
  copy,
  fill,
  empty,
  child,
  conditional,
  host_function,
  event_wait,
  event_record,
  semaphore_signal,
  semaphore_wait,
  allocation,
  free,
  unknown,
};

// Every call but the releases says why it did not work, in a few words without a full stop; an
// empty text: it worked. None throws. Thread-safe where different handles are meant.
class GraphDriver {
 public:
  using Reason = std::string;

  GraphDriver() = default;
  GraphDriver(const GraphDriver&) = delete;
  GraphDriver& operator=(const GraphDriver&) = delete;
  virtual ~GraphDriver() = default;

  // The newest CUDA that the driver knows, as CUDA writes it: 12040 is 12.4.
  virtual Reason driver_version(int* version) = 0;

  // Looking into a graph, which may be somebody else's.
  virtual Reason graph_nodes(GraphHandle graph, std::vector<NodeHandle>* nodes) = 0;
  virtual Reason node_kind(NodeHandle node, NodeKind* kind) = 0;
  virtual Reason child_graph(NodeHandle node, GraphHandle* graph) = 0;

  // Building one. Each add_ puts a node behind `after` (none: at the start). With a condition,
  // begin and advance set it; without, it is none.
  virtual Reason create_graph(GraphHandle* graph) = 0;
  virtual Reason create_condition(GraphHandle graph, ConditionHandle* condition) = 0;
  virtual Reason add_begin(GraphHandle graph, NodeHandle after, const LoopState& state,
                           ConditionHandle condition, NodeHandle* node) = 0;
  virtual Reason add_advance(GraphHandle graph, NodeHandle after, const LoopState& state,
                             ConditionHandle condition, NodeHandle* node) = 0;
  virtual Reason add_keep_preview(GraphHandle graph, NodeHandle after, const PreviewCopy& copy,
                                  NodeHandle* node) = 0;
  // A copy of the child is made.
  virtual Reason add_child(GraphHandle graph, NodeHandle after, GraphHandle child,
                           NodeHandle* node) = 0;
  // `body` belongs to the graph.
  virtual Reason add_while(GraphHandle graph, NodeHandle after, ConditionHandle condition,
                           NodeHandle* node, GraphHandle* body) = 0;
  virtual void destroy_graph(GraphHandle graph) = 0;

  virtual Reason instantiate(GraphHandle graph, ExecHandle* exec) = 0;
  virtual Reason launch(ExecHandle exec, StreamHandle stream) = 0;
  virtual void destroy_exec(ExecHandle exec) = 0;

  virtual Reason create_event(EventHandle* event) = 0;
  virtual Reason record_event(EventHandle event, StreamHandle stream) = 0;
  virtual Reason wait_for_event(EventHandle event) = 0;  // at once where it was never recorded
  virtual void destroy_event(EventHandle event) = 0;
  virtual Reason wait_for_stream(StreamHandle stream) = 0;

  // Host memory, and the address by which the device sees it.
  virtual Reason allocate_words(LoopWords** host, LoopWords** device) = 0;
  virtual void free_words(LoopWords* host) = 0;
  // One int32 of device memory.
  virtual Reason allocate_counter(std::int32_t** device) = 0;
  virtual void free_counter(std::int32_t* device) = 0;
};

// CUDA's, for the device that `resident`, one of the loop's arrays, lies on, whatever device is
// current when it is called. Throws InvalidArgument: the address is on no device, or CUDA can't be
// used, and then with the reason alone.
std::shared_ptr<GraphDriver> cuda_graph_driver(const void* resident);

}  // namespace fd
