// The graph driver over the CUDA runtime.
//
// Graphs, nodes, execs and streams are the driver API's own objects behind the runtime's names, so
// those that another copy of the runtime in this process (torch's) made are as good as ours.

#include <cuda_runtime_api.h>

#include "core/error.h"
#include "cuda/device.h"
#include "cuda/graph_driver.h"
#include "cuda/graph_nodes.h"
#include "cuda/loop_kernels.h"

#if CUDART_VERSION < 12040
#error "fastdiff needs nvcc of CUDA 12.4 or newer: graphs with loops begin there"
#endif

namespace fd {
namespace {

using Reason = GraphDriver::Reason;

cudaGraph_t of(GraphHandle handle) { return reinterpret_cast<cudaGraph_t>(handle); }
cudaGraphNode_t of(NodeHandle handle) { return reinterpret_cast<cudaGraphNode_t>(handle); }
cudaGraphExec_t of(ExecHandle handle) { return reinterpret_cast<cudaGraphExec_t>(handle); }
cudaEvent_t of(EventHandle handle) { return reinterpret_cast<cudaEvent_t>(handle); }
cudaStream_t of(StreamHandle handle) { return reinterpret_cast<cudaStream_t>(handle); }
template <class Handle, class Pointer>
Handle handle_of(Pointer* pointer) {
  return static_cast<Handle>(reinterpret_cast<std::uintptr_t>(pointer));
}

Reason reason_of(cudaError_t error) {
  if (error == cudaSuccess) return "";
  cudaGetLastError();  // told here, so nobody else need find it
  return std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")";
}

NodeKind kind_of(cudaGraphNodeType type) {
  switch (type) {
    case cudaGraphNodeTypeKernel:
      return NodeKind::kernel;
    case cudaGraphNodeTypeMemcpy:
      return NodeKind::copy;
    case cudaGraphNodeTypeMemset:
      return NodeKind::fill;
    case cudaGraphNodeTypeEmpty:
      return NodeKind::empty;
    case cudaGraphNodeTypeGraph:
      return NodeKind::child;
    case cudaGraphNodeTypeConditional:
      return NodeKind::conditional;
    case cudaGraphNodeTypeHost:
      return NodeKind::host_function;
    case cudaGraphNodeTypeWaitEvent:
      return NodeKind::event_wait;
    case cudaGraphNodeTypeEventRecord:
      return NodeKind::event_record;
    case cudaGraphNodeTypeExtSemaphoreSignal:
      return NodeKind::semaphore_signal;
    case cudaGraphNodeTypeExtSemaphoreWait:
      return NodeKind::semaphore_wait;
    case cudaGraphNodeTypeMemAlloc:
      return NodeKind::allocation;
    case cudaGraphNodeTypeMemFree:
      return NodeKind::free;
    default:
      return NodeKind::unknown;
  }
}

// Makes a device current and the one before current again.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    error_ = cudaGetDevice(&before_);
    if (error_ == cudaSuccess && before_ != device) {
      error_ = cudaSetDevice(device);
      changed_ = error_ == cudaSuccess;
    }
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;
  ~DeviceScope() {
    if (changed_) cudaSetDevice(before_);
  }
  cudaError_t error() const { return error_; }

 private:
  cudaError_t error_;
  int before_ = 0;
  bool changed_ = false;
};

class CudaGraphDriver final : public GraphDriver {
 public:
  explicit CudaGraphDriver(int device) : device_(device) {}

  Reason driver_version(int* version) override { return reason_of(cudaDriverGetVersion(version)); }

  Reason graph_nodes(GraphHandle graph, std::vector<NodeHandle>* nodes) override {
    return here([&] {
      std::size_t count = 0;
      const cudaError_t error = cudaGraphGetNodes(of(graph), nullptr, &count);
      if (error != cudaSuccess) return error;
      nodes->assign(count, NodeHandle::none);
      if (count == 0) return cudaSuccess;
      static_assert(sizeof(NodeHandle) == sizeof(cudaGraphNode_t));
      return cudaGraphGetNodes(of(graph), reinterpret_cast<cudaGraphNode_t*>(nodes->data()),
                               &count);
    });
  }
  Reason node_kind(NodeHandle node, NodeKind* kind) override {
    return here([&] {
      cudaGraphNodeType type{};
      const cudaError_t error = cudaGraphNodeGetType(of(node), &type);
      *kind = kind_of(type);
      return error;
    });
  }
  Reason child_graph(NodeHandle node, GraphHandle* graph) override {
    return here([&] {
      cudaGraph_t child = nullptr;
      const cudaError_t error = cudaGraphChildGraphNodeGetGraph(of(node), &child);
      *graph = handle_of<GraphHandle>(child);
      return error;
    });
  }

  Reason create_graph(GraphHandle* graph) override {
    return here([&] {
      cudaGraph_t made = nullptr;
      const cudaError_t error = cudaGraphCreate(&made, 0);
      *graph = handle_of<GraphHandle>(made);
      return error;
    });
  }
  // Starts every launch at 0, so that a begin that did not run ends the loop.
  Reason create_condition(GraphHandle graph, ConditionHandle* condition) override {
    return here([&] {
      cudaGraphConditionalHandle made = 0;
      const cudaError_t error =
          cudaGraphConditionalHandleCreate(&made, of(graph), 0, cudaGraphCondAssignDefault);
      *condition = static_cast<ConditionHandle>(made);
      return error;
    });
  }
  Reason add_begin(GraphHandle graph, NodeHandle after, const LoopState& state,
                   ConditionHandle condition, NodeHandle* node) override {
    const bool sets = condition != ConditionHandle::none;
    return add_state_kernel(sets ? begin_while_kernel() : begin_kernel(), graph, after, state,
                            condition, node);
  }
  Reason add_advance(GraphHandle graph, NodeHandle after, const LoopState& state,
                     ConditionHandle condition, NodeHandle* node) override {
    const bool sets = condition != ConditionHandle::none;
    return add_state_kernel(sets ? advance_while_kernel() : advance_kernel(), graph, after, state,
                            condition, node);
  }
  Reason add_keep_preview(GraphHandle graph, NodeHandle after, const PreviewCopy& copy,
                          NodeHandle* node) override {
    PreviewCopy argument = copy;
    void* arguments[] = {&argument};
    return add_kernel(keep_preview_kernel(), preview_blocks(copy.values, copy.in_quads), arguments,
                      graph, after, node);
  }
  Reason add_child(GraphHandle graph, NodeHandle after, GraphHandle child,
                   NodeHandle* node) override {
    return here([&] {
      const cudaGraphNode_t before = of(after);
      cudaGraphNode_t made = nullptr;
      const cudaError_t error =
          cudaGraphAddChildGraphNode(&made, of(graph), &before, before ? 1 : 0, of(child));
      *node = handle_of<NodeHandle>(made);
      return error;
    });
  }
  Reason add_while(GraphHandle graph, NodeHandle after, ConditionHandle condition, NodeHandle* node,
                   GraphHandle* body) override {
    return here([&] {
      const cudaGraphNode_t before = of(after);
      const std::size_t befores = before ? 1 : 0;
      cudaGraphNodeParams params{};
      params.type = cudaGraphNodeTypeConditional;
      params.conditional.handle = static_cast<cudaGraphConditionalHandle>(condition);
      params.conditional.type = cudaGraphCondTypeWhile;
      params.conditional.size = 1;
      cudaGraphNode_t made = nullptr;
#if CUDART_VERSION >= 13000
      const cudaError_t error =
          cudaGraphAddNode(&made, of(graph), &before, nullptr, befores, &params);
#else
      const cudaError_t error = cudaGraphAddNode(&made, of(graph), &before, befores, &params);
#endif
      if (error != cudaSuccess) return error;
      *node = handle_of<NodeHandle>(made);
      *body = handle_of<GraphHandle>(params.conditional.phGraph_out[0]);
      return error;
    });
  }
  void destroy_graph(GraphHandle graph) override {
    release([&] { return cudaGraphDestroy(of(graph)); });
  }

  Reason instantiate(GraphHandle graph, ExecHandle* exec) override {
    cudaGraphInstantiateParams params{};
    Reason reason = here([&] {
      cudaGraphExec_t made = nullptr;
      const cudaError_t error = cudaGraphInstantiateWithParams(&made, of(graph), &params);
      if (error == cudaSuccess) *exec = handle_of<ExecHandle>(made);
      return error;
    });
    if (!reason.empty() && params.errNode_out != nullptr) {
      NodeKind kind = NodeKind::unknown;
      if (node_kind(handle_of<NodeHandle>(params.errNode_out), &kind).empty()) {
        reason += std::string(" at a node of kind '") + node_kind_name(kind) + "'";
      }
    }
    return reason;
  }
  Reason launch(ExecHandle exec, StreamHandle stream) override {
    return here([&] { return cudaGraphLaunch(of(exec), of(stream)); });
  }
  void destroy_exec(ExecHandle exec) override {
    release([&] { return cudaGraphExecDestroy(of(exec)); });
  }

  Reason create_event(EventHandle* event) override {
    return here([&] {
      cudaEvent_t made = nullptr;
      const cudaError_t error = cudaEventCreateWithFlags(&made, cudaEventDisableTiming);
      *event = handle_of<EventHandle>(made);
      return error;
    });
  }
  Reason record_event(EventHandle event, StreamHandle stream) override {
    return here([&] { return cudaEventRecord(of(event), of(stream)); });
  }
  Reason wait_for_event(EventHandle event) override {
    return here([&] { return cudaEventSynchronize(of(event)); });
  }
  void destroy_event(EventHandle event) override {
    release([&] { return cudaEventDestroy(of(event)); });
  }
  Reason wait_for_stream(StreamHandle stream) override {
    return here([&] { return cudaStreamSynchronize(of(stream)); });
  }

  Reason allocate_words(LoopWords** host, LoopWords** device) override {
    return here([&] {
      void* memory = nullptr;
      cudaError_t error =
          cudaHostAlloc(&memory, sizeof(LoopWords), cudaHostAllocMapped | cudaHostAllocPortable);
      if (error != cudaSuccess) return error;
      void* seen = nullptr;
      error = cudaHostGetDevicePointer(&seen, memory, 0);
      if (error != cudaSuccess) {
        cudaFreeHost(memory);
        return error;
      }
      *host = static_cast<LoopWords*>(memory);
      *device = static_cast<LoopWords*>(seen);
      return error;
    });
  }
  void free_words(LoopWords* host) override {
    release([&] { return cudaFreeHost(host); });
  }
  Reason allocate_counter(std::int32_t** device) override {
    return here([&] {
      void* memory = nullptr;
      const cudaError_t error = cudaMalloc(&memory, sizeof(std::int32_t));
      if (error == cudaSuccess) *device = static_cast<std::int32_t*>(memory);
      return error;
    });
  }
  void free_counter(std::int32_t* device) override {
    release([&] { return cudaFree(device); });
  }

 private:
  // Runs a call with the loop's device current.
  template <class Call>
  cudaError_t on_device(Call&& call) const {
    const DeviceScope scope(device_);
    return scope.error() != cudaSuccess ? scope.error() : call();
  }
  template <class Call>
  Reason here(Call&& call) const {
    return reason_of(on_device(call));
  }
  // Nobody can do anything about a release that fails: the device is lost, or the program ends.
  template <class Call>
  void release(Call&& call) const {
    if (on_device(call) != cudaSuccess) cudaGetLastError();
  }

  Reason add_kernel(void* kernel, unsigned blocks, void** arguments, GraphHandle graph,
                    NodeHandle after, NodeHandle* node) const {
    return here([&] {
      const cudaGraphNode_t before = of(after);
      cudaKernelNodeParams params{};
      params.func = kernel;
      params.gridDim = dim3(blocks);
      params.blockDim = dim3(kLoopThreads);
      params.kernelParams = arguments;
      cudaGraphNode_t made = nullptr;
      const cudaError_t error =
          cudaGraphAddKernelNode(&made, of(graph), &before, before ? 1 : 0, &params);
      *node = handle_of<NodeHandle>(made);
      return error;
    });
  }
  Reason add_state_kernel(void* kernel, GraphHandle graph, NodeHandle after, const LoopState& state,
                          ConditionHandle condition, NodeHandle* node) const {
    LoopState argument = state;
    auto handle = static_cast<cudaGraphConditionalHandle>(condition);
    void* arguments[] = {&argument, &handle};  // the kernels without a condition read the first
    return add_kernel(kernel, 1, arguments, graph, after, node);
  }

  int device_;
};

}  // namespace

std::shared_ptr<GraphDriver> cuda_graph_driver(const void* resident) {
  const std::string unusable = cuda_unusable_reason();
  if (!unusable.empty()) throw InvalidArgument(unusable);
  cudaPointerAttributes attributes{};
  const cudaError_t error = cudaPointerGetAttributes(&attributes, resident);
  if (error != cudaSuccess ||
      (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)) {
    cudaGetLastError();
    fail_argument("count", "an address on a CUDA device",
                  std::to_string(reinterpret_cast<std::uintptr_t>(resident)));
  }
  return std::make_shared<CudaGraphDriver>(attributes.device);
}

}  // namespace fd
