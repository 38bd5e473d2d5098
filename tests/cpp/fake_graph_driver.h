// A graph driver without a device: it keeps count of what it hands out, runs graphs on the host
// with the kernels' own functions (cuda/loop_state.h), and can fail at any call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "cuda/graph_driver.h"
#include "cuda/graph_parts.h"

namespace fake {

using fd::ConditionHandle;
using fd::EventHandle;
using fd::ExecHandle;
using fd::GraphHandle;
using fd::NodeHandle;
using fd::NodeKind;
using fd::StreamHandle;

constexpr int kThreads = 3;  // of every kernel: its threads run one after another

// What a node does, by what it holds.
struct Node {
  NodeKind kind = NodeKind::kernel;
  std::function<void(std::map<ConditionHandle, bool>*)> run;  // kernels and their like
  std::shared_ptr<struct Graph> graph;                // child: a copy; conditional: the body
  ConditionHandle condition = ConditionHandle::none;  // conditional
  NodeHandle after = NodeHandle::none;
  const fd::LoopWords* words = nullptr;  // those that the kernel reads and writes
};

struct Graph {
  std::vector<NodeHandle> order;  // as they were added
  std::vector<ConditionHandle> conditions;
};

class Driver : public fd::GraphDriver {
 public:
  int version = 13000;
  // Launches lie in their streams until somebody waits, as on a device that takes its time.
  bool deferred = false;
  std::string refused;  // what instantiate says; empty: it works

  // A graph as somebody else captured it: nodes of these kinds, the kernels among them running the
  // work.
  GraphHandle capture(std::function<void()> work, std::vector<NodeKind> kinds = {NodeKind::kernel},
                      GraphHandle child = GraphHandle::none) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto handle = make<GraphHandle>();
    auto graph = std::make_shared<Graph>();
    NodeHandle last = NodeHandle::none;
    for (const NodeKind kind : kinds) {
      Node node;
      node.kind = kind;
      node.after = last;
      if (kind == NodeKind::kernel) node.run = [work](auto*) { work(); };
      if (kind == NodeKind::child) node.graph = graphs_.at(child);
      last = put(graph.get(), std::move(node));
    }
    graphs_[handle] = graph;
    return handle;
  }

  // Call number n from now (1: the next) fails, once; 0: none does.
  void fail_at(int n) {
    std::lock_guard<std::mutex> lock(mutex_);
    fails_in_ = n;
    failed_ = "";
  }
  std::string failed() const { return failed_; }  // the call that did, or nothing
  int calls(const std::string& name) const {
    const auto found = calls_.find(name);
    return found == calls_.end() ? 0 : found->second;
  }
  std::size_t alive() const {  // handed out and not given back
    return own_graphs_.size() + execs_.size() + events_.size() + words_.size() + counters_.size();
  }
  std::size_t made() const { return made_; }             // handed out ever
  const std::string& misuse() const { return misuse_; }  // what no driver would forgive

  Reason driver_version(int* out) override {
    if (fails("driver_version")) return kFailure;
    *out = version;
    return "";
  }

  Reason graph_nodes(GraphHandle graph, std::vector<NodeHandle>* nodes) override {
    if (fails("graph_nodes")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    *nodes = graphs_.at(graph)->order;
    return "";
  }
  Reason node_kind(NodeHandle node, NodeKind* kind) override {
    if (fails("node_kind")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    *kind = nodes_.at(node).kind;
    return "";
  }
  Reason child_graph(NodeHandle node, GraphHandle* graph) override {
    if (fails("child_graph")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    *graph = make<GraphHandle>();
    graphs_[*graph] = nodes_.at(node).graph;
    return "";
  }

  Reason create_graph(GraphHandle* graph) override {
    if (fails("create_graph")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    *graph = make<GraphHandle>();
    graphs_[*graph] = std::make_shared<Graph>();
    own_graphs_[*graph] = 1;
    ++made_;
    return "";
  }
  Reason create_condition(GraphHandle graph, ConditionHandle* condition) override {
    if (fails("create_condition")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    *condition = make<ConditionHandle>();
    graphs_.at(graph)->conditions.push_back(*condition);
    return "";
  }
  Reason add_begin(GraphHandle graph, NodeHandle after, const fd::LoopState& state,
                   ConditionHandle condition, NodeHandle* node) override {
    if (fails("add_begin")) return kFailure;
    return add_kernel(graph, after, node, state.words, [state, condition](auto* conditions) {
      for (int t = 0; t < kThreads; ++t) fd::begin_rows(state, t, kThreads);
      fd::begin_loop(state);
      if (condition != ConditionHandle::none) (*conditions)[condition] = fd::loop_goes_on(state);
    });
  }
  Reason add_advance(GraphHandle graph, NodeHandle after, const fd::LoopState& state,
                     ConditionHandle condition, NodeHandle* node) override {
    if (fails("add_advance")) return kFailure;
    return add_kernel(graph, after, node, state.words, [state, condition](auto* conditions) {
      for (int t = 0; t < kThreads; ++t) fd::advance_rows(state, t, kThreads);
      fd::advance_loop(state);
      if (condition != ConditionHandle::none) (*conditions)[condition] = fd::loop_goes_on(state);
    });
  }
  Reason add_keep_preview(GraphHandle graph, NodeHandle after, const fd::PreviewCopy& copy,
                          NodeHandle* node) override {
    if (fails("add_keep_preview")) return kFailure;
    return add_kernel(graph, after, node, nullptr, [copy](auto*) {
      for (int t = 0; t < kThreads; ++t) {
        fd::keep_preview(copy, static_cast<std::size_t>(t), kThreads);
      }
    });
  }
  Reason add_child(GraphHandle graph, NodeHandle after, GraphHandle child,
                   NodeHandle* node) override {
    if (fails("add_child")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    Node made;
    made.kind = NodeKind::child;
    made.after = after;
    made.graph = copy(*graphs_.at(child));
    *node = put(graphs_.at(graph).get(), std::move(made));
    return "";
  }
  Reason add_while(GraphHandle graph, NodeHandle after, ConditionHandle condition, NodeHandle* node,
                   GraphHandle* body) override {
    if (fails("add_while")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    const auto& known = graphs_.at(graph)->conditions;
    if (std::find(known.begin(), known.end(), condition) == known.end()) {
      return "a condition of another graph";
    }
    Node made;
    made.kind = NodeKind::conditional;
    made.after = after;
    made.condition = condition;
    made.graph = std::make_shared<Graph>();
    *body = make<GraphHandle>();
    graphs_[*body] = made.graph;
    *node = put(graphs_.at(graph).get(), std::move(made));
    return "";
  }
  void destroy_graph(GraphHandle graph) override { give_back("graph", &own_graphs_, graph); }

  Reason instantiate(GraphHandle graph, ExecHandle* exec) override {
    if (fails("instantiate")) return kFailure;
    if (!refused.empty()) return refused;
    std::lock_guard<std::mutex> lock(mutex_);
    *exec = make<ExecHandle>();
    execs_[*exec] = copy(*graphs_.at(graph));
    ++made_;
    return "";
  }
  Reason launch(ExecHandle exec, StreamHandle stream) override {
    if (fails("launch")) return kFailure;
    std::shared_ptr<Graph> graph;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      graph = execs_.at(exec);
      if (deferred) {
        streams_[stream].push_back({exec, graph, EventHandle::none});
        return "";
      }
    }
    run(*graph);
    return "";
  }
  void destroy_exec(ExecHandle exec) override {
    for (const auto& [stream, items] : streams_) {
      for (const Item& item : items) {
        if (item.exec == exec) misuse_ = "an exec was destroyed that is yet to run";
      }
    }
    give_back("exec", &execs_, exec);
  }

  Reason create_event(EventHandle* event) override {
    if (fails("create_event")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    *event = make<EventHandle>();
    events_[*event] = true;  // never recorded: nothing to wait for
    ++made_;
    return "";
  }
  Reason record_event(EventHandle event, StreamHandle stream) override {
    if (fails("record_event")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    events_.at(event) = !deferred;
    if (deferred) streams_[stream].push_back({ExecHandle::none, nullptr, event});
    return "";
  }
  Reason wait_for_event(EventHandle event) override {
    if (fails("wait_for_event")) return kFailure;
    for (auto& [stream, items] : streams_) {
      while (!passed(event) && !items.empty()) run_next(&items);
    }
    if (!passed(event)) misuse_ = "somebody waits for ever";
    return "";
  }
  void destroy_event(EventHandle event) override { give_back("event", &events_, event); }
  Reason wait_for_stream(StreamHandle stream) override {
    if (fails("wait_for_stream")) return kFailure;
    if (!deferred) return "";
    auto& items = streams_[stream];
    while (!items.empty()) run_next(&items);
    return "";
  }

  Reason allocate_words(fd::LoopWords** host, fd::LoopWords** device) override {
    if (fails("allocate_words")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    auto* words = new fd::LoopWords;
    std::memset(static_cast<void*>(words), 0x55, sizeof(*words));  // what memory holds at first
    words_[words] = 1;
    ++made_;
    *host = *device = words;
    return "";
  }
  void free_words(fd::LoopWords* host) override {
    for (const auto& [stream, items] : streams_) {
      for (const Item& item : items) {
        if (item.graph != nullptr && uses(*item.graph, host)) {
          misuse_ = "words were freed that a launch is yet to use";
        }
      }
    }
    if (give_back("words", &words_, host)) delete host;
  }
  Reason allocate_counter(std::int32_t** device) override {
    if (fails("allocate_counter")) return kFailure;
    std::lock_guard<std::mutex> lock(mutex_);
    *device = new std::int32_t(0x55555555);
    counters_[*device] = 1;
    ++made_;
    return "";
  }
  void free_counter(std::int32_t* device) override {
    if (give_back("counter", &counters_, device)) delete device;
  }

 private:
  static constexpr const char* kFailure = "out of memory";
  struct Item {  // of a stream: a launch, or an event
    ExecHandle exec;
    std::shared_ptr<Graph> graph;
    EventHandle event;
  };

  bool fails(const char* name) {
    std::lock_guard<std::mutex> lock(mutex_);
    ++calls_[name];
    if (fails_in_ == 0 || --fails_in_ != 0) return false;
    failed_ = name;
    return true;
  }
  template <class Handle>
  Handle make() {
    return static_cast<Handle>(++last_handle_);
  }
  NodeHandle put(Graph* graph, Node node) {
    const NodeHandle before = graph->order.empty() ? NodeHandle::none : graph->order.back();
    if (node.after != before) misuse_ = "a node does not stand behind the one before";
    const auto handle = make<NodeHandle>();
    graph->order.push_back(handle);
    nodes_[handle] = std::move(node);
    return handle;
  }
  std::shared_ptr<Graph> copy(const Graph& from) {
    auto to = std::make_shared<Graph>();
    for (const NodeHandle handle : from.order) {
      Node node = nodes_.at(handle);
      if (node.graph != nullptr) node.graph = copy(*node.graph);
      node.after = to->order.empty() ? NodeHandle::none : to->order.back();
      put(to.get(), std::move(node));
    }
    return to;
  }
  Reason add_kernel(GraphHandle graph, NodeHandle after, NodeHandle* node,
                    const fd::LoopWords* words,
                    std::function<void(std::map<ConditionHandle, bool>*)> work) {
    std::lock_guard<std::mutex> lock(mutex_);
    Node made;
    made.after = after;
    made.words = words;
    made.run = std::move(work);
    *node = put(graphs_.at(graph).get(), std::move(made));
    return "";
  }
  bool passed(EventHandle event) {
    std::lock_guard<std::mutex> lock(mutex_);
    return events_.at(event);
  }
  Node node_of(NodeHandle handle) {
    std::lock_guard<std::mutex> lock(mutex_);
    return nodes_.at(handle);
  }
  bool uses(const Graph& graph, const fd::LoopWords* words) {
    for (const NodeHandle handle : graph.order) {
      const Node node = node_of(handle);
      if (node.words == words || (node.graph != nullptr && uses(*node.graph, words))) return true;
    }
    return false;
  }
  void run(const Graph& graph) {
    std::map<ConditionHandle, bool> conditions;  // every launch starts with none set: false
    run(graph, &conditions);
  }
  void run(const Graph& graph, std::map<ConditionHandle, bool>* conditions) {
    for (const NodeHandle handle : graph.order) {
      const Node node = node_of(handle);
      if (node.run) node.run(conditions);
      if (node.kind == NodeKind::child) run(*node.graph, conditions);
      while (node.kind == NodeKind::conditional && (*conditions)[node.condition]) {
        run(*node.graph, conditions);
      }
    }
  }
  void run_next(std::deque<Item>* items) {
    const Item item = items->front();
    items->pop_front();
    if (item.graph != nullptr) run(*item.graph);
    if (item.event != EventHandle::none) events_.at(item.event) = true;
  }
  template <class Handle, class Value>
  bool give_back(const char* what, std::map<Handle, Value>* from, Handle handle) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (from->erase(handle) == 1) return true;
    misuse_ = std::string("given back twice, or never handed out: ") + what;
    return false;
  }

  std::mutex mutex_;  // not held while graphs run; streams and events: for one thread at a time
  std::uint64_t last_handle_ = 0;
  std::size_t made_ = 0;
  int fails_in_ = 0;
  std::string failed_, misuse_;
  std::map<std::string, int> calls_;
  std::map<GraphHandle, std::shared_ptr<Graph>> graphs_;
  std::map<NodeHandle, Node> nodes_;
  std::map<GraphHandle, int> own_graphs_;
  std::map<ExecHandle, std::shared_ptr<Graph>> execs_;
  std::map<EventHandle, bool> events_;  // true: passed
  std::map<fd::LoopWords*, int> words_;
  std::map<std::int32_t*, int> counters_;
  std::map<StreamHandle, std::deque<Item>> streams_;
};

// A graph loop's arrays and graphs on the fake driver, and what its rows must have left there.
//
// The step adds to each sample's values: x += 1 + rows[b], x0 = -x. After k rows x is
// start + k + k (k - 1) / 2, a value that no other number of rows gives.
constexpr float kStart = 100, kNotKept = -7;

struct Request {
  std::size_t batch, elements, slots;
  std::int32_t count = 0;
  std::vector<std::int32_t> rows, schedule;
  std::vector<fd::FloatQuad> x_memory, x0_memory, kept_memory, kept_x0_memory;  // 16-byte starts
  std::vector<int> rows_seen;  // the row that every step saw
  int starts = 0;
  std::function<void(int)> in_step;  // called in every step with its row

  Request(std::size_t batch_size, std::size_t sample_elements,
          std::vector<std::int32_t> slot_of_row)
      : batch(batch_size),
        elements(sample_elements),
        slots(8),
        rows(batch, 12345),
        schedule(std::move(slot_of_row)) {
    const std::size_t quads = batch * elements / 4 + 2;
    x_memory.resize(quads);
    x0_memory.resize(quads);
    kept_memory.resize(quads * slots);
    kept_x0_memory.resize(quads * slots);
    clear_previews();
  }

  float* x() { return x_memory[0].value; }
  float* x0() { return x0_memory[0].value; }
  float* previews() { return kept_memory[0].value; }
  float* x0_previews() { return kept_x0_memory[0].value; }
  std::size_t values() const { return batch * elements; }

  void clear_previews() {
    for (std::size_t i = 0; i < slots * values(); ++i) previews()[i] = x0_previews()[i] = kNotKept;
  }

  fd::LoopParts parts(Driver* driver, fd::LoopMode mode) {
    fd::LoopParts parts;
    parts.start = driver->capture([this] {
      ++starts;
      for (std::size_t i = 0; i < values(); ++i) x()[i] = kStart;
    });
    parts.step = driver->capture([this] { step(); });
    parts.rows = rows.data();
    parts.batch = batch;
    parts.count = &count;
    parts.x = x();
    parts.elements = elements;
    parts.x0 = x0();
    parts.previews = previews();
    parts.x0_previews = x0_previews();
    parts.schedule = schedule.data();
    parts.mode = mode;
    return parts;
  }

  static float after(int done) { return kStart + static_cast<float>(done + done * (done - 1) / 2); }

  // What a launch of so many rows leaves.
  void check_result(int done) {
    CHECK_EQUAL(rows_seen.size(), static_cast<std::size_t>(done));
    for (int k = 0; k < done; ++k) CHECK_EQUAL(rows_seen[static_cast<std::size_t>(k)], k);
    for (std::size_t b = 0; b < batch; ++b) CHECK_EQUAL(rows[b], done);
    for (std::size_t i = 0; i < values(); ++i) CHECK_EQUAL(x()[i], after(done));
    std::vector<float> kept(slots, kNotKept);
    for (int k = 0; k < done; ++k) {
      const std::int32_t slot = schedule[static_cast<std::size_t>(k)];
      if (slot >= 0) kept[static_cast<std::size_t>(slot)] = after(k + 1);
    }
    for (std::size_t i = 0; i < slots * values(); ++i) {
      const float expected = kept[i / values()];
      CHECK_EQUAL(previews()[i], expected);
      CHECK_EQUAL(x0_previews()[i], expected == kNotKept ? kNotKept : -expected);
    }
    rows_seen.clear();
    clear_previews();
  }

 private:
  void step() {
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t e = 0; e < elements; ++e) {
        const std::size_t i = b * elements + e;
        x()[i] += 1 + static_cast<float>(rows[b]);
        x0()[i] = -x()[i];
      }
    }
    rows_seen.push_back(rows[0]);
    if (in_step) in_step(rows[0]);
  }
};

// Nothing is left, and nothing was done that a driver would not forgive.
inline void check_clean(const Driver& driver) {
  CHECK_EQUAL(driver.alive(), 0u);
  CHECK_EQUAL(driver.misuse(), "");
}

}  // namespace fake
