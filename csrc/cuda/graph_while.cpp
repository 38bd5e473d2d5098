// begin -> start -> while { step -> keep_preview -> advance }: one launch, and the device goes
// through all rows without the host.

#include "cuda/graph_chain.h"
#include "cuda/graph_handles.h"
#include "cuda/graph_nodes.h"
#include "cuda/graph_runners.h"

namespace fd {
namespace {

class WhileLoop final : public LoopRunner {
 public:
  WhileLoop(GraphDriver& driver, const LoopParts& parts, const LoopState& state)
      : driver_(driver), graph_(driver), exec_(driver) {
    nodes_ = count_nodes(driver, "step", parts.step, &allowed_in_loop);
    if (parts.start != GraphHandle::none) {
      nodes_ += count_nodes(driver, "start", parts.start, &allowed_in_child);
    }
    check_driver("creating the graph loop's graph", driver.create_graph(graph_.out()));
    ConditionHandle condition = ConditionHandle::none;
    check_driver("creating the graph loop's condition",
                 driver.create_condition(graph_.get(), &condition));
    GraphChain chain(driver, graph_.get());
    chain.begin(state, condition);
    if (parts.start != GraphHandle::none) chain.start(parts.start);
    GraphChain body(driver, chain.repeat(condition));
    body.step(parts.step);
    if (keeps_previews(parts)) body.keep_preview(preview_copy(parts, state.done));
    body.advance(state, condition);
    nodes_ += chain.own_nodes() + body.own_nodes();
    check_driver("instantiating the graph loop", driver.instantiate(graph_.get(), exec_.out()));
  }

  void queue(StreamHandle stream) override {
    check_driver("launching the graph loop", driver_.launch(exec_.get(), stream));
  }
  std::size_t node_count() const override { return nodes_; }

 private:
  GraphDriver& driver_;
  OwnedGraph graph_;
  OwnedExec exec_;  // goes before its graph
  std::size_t nodes_ = 0;
};

}  // namespace

std::unique_ptr<LoopRunner> make_while_loop(GraphDriver& driver, const LoopParts& parts,
                                            const LoopState& state) {
  return std::make_unique<WhileLoop>(driver, parts, state);
}

}  // namespace fd
