// The rows launched from the host: begin, start, then step and {keep_preview -> advance} for every
// row. For drivers without while nodes, and for steps that those can't hold: captured graphs are
// launched as they are, not as children.

#include <array>

#include "cuda/graph_chain.h"
#include "cuda/graph_handles.h"
#include "cuda/graph_nodes.h"
#include "cuda/graph_runners.h"

namespace fd {
namespace {

// How many rows the host may be ahead of the device: enough that the device never waits for it, few
// enough that a cancelled loop ends soon.
constexpr std::size_t kRowsAhead = 4;

class LaunchedLoop final : public LoopRunner {
 public:
  LaunchedLoop(GraphDriver& driver, const LoopParts& parts, const LoopState& state,
               const LoopWords* words)
      : driver_(driver),
        words_(words),
        begin_graph_(driver),
        after_graph_(driver),
        begin_(driver),
        start_(driver),
        step_(driver),
        after_(driver),
        begun_(driver),
        row_done_{OwnedEvent(driver), OwnedEvent(driver), OwnedEvent(driver), OwnedEvent(driver)} {
    nodes_ = count_nodes(driver, "step", parts.step, &allowed_anywhere);
    if (parts.start != GraphHandle::none) {
      nodes_ += count_nodes(driver, "start", parts.start, &allowed_anywhere);
    }
    check_driver("creating the graph loop's first graph", driver.create_graph(begin_graph_.out()));
    GraphChain begin(driver, begin_graph_.get());
    begin.begin(state, ConditionHandle::none);
    check_driver("creating the graph loop's last graph", driver.create_graph(after_graph_.out()));
    GraphChain after(driver, after_graph_.get());
    if (keeps_previews(parts)) after.keep_preview(preview_copy(parts, state.done));
    after.advance(state, ConditionHandle::none);
    nodes_ += begin.own_nodes() + after.own_nodes();

    instantiate(begin_graph_.get(), &begin_, "instantiating the graph loop's first graph");
    if (parts.start != GraphHandle::none) {
      instantiate(parts.start, &start_, "instantiating the start graph");
    }
    instantiate(parts.step, &step_, "instantiating the step graph");
    instantiate(after_graph_.get(), &after_, "instantiating the graph loop's last graph");
    check_driver("creating the graph loop's events", driver.create_event(begun_.out()));
    for (OwnedEvent& event : row_done_) {
      check_driver("creating the graph loop's events", driver.create_event(event.out()));
    }
  }

  void queue(StreamHandle stream) override {
    check_driver("launching the graph loop", driver_.launch(begin_.get(), stream));
    check_driver("recording the graph loop's events", driver_.record_event(begun_.get(), stream));
    if (start_.get() != ExecHandle::none) {
      check_driver("launching the start graph", driver_.launch(start_.get(), stream));
    }
    check_driver("waiting for the number of rows", driver_.wait_for_event(begun_.get()));
    const std::int32_t wanted = read_shared(&words_->rows_wanted);
    for (std::int32_t row = 0;; ++row) {
      const auto turn = static_cast<std::size_t>(row) % kRowsAhead;
      if (static_cast<std::size_t>(row) >= kRowsAhead) {
        check_driver("waiting for a row", driver_.wait_for_event(row_done_[turn].get()));
      }
      if (!loop_goes_on(row, wanted, read_shared(&words_->cancelled))) return;
      check_driver("launching the step graph", driver_.launch(step_.get(), stream));
      check_driver("launching the end of a row", driver_.launch(after_.get(), stream));
      check_driver("recording the graph loop's events",
                   driver_.record_event(row_done_[turn].get(), stream));
    }
  }
  std::size_t node_count() const override { return nodes_; }

 private:
  void instantiate(GraphHandle graph, OwnedExec* exec, const char* doing) {
    check_driver(doing, driver_.instantiate(graph, exec->out()));
  }

  GraphDriver& driver_;
  const LoopWords* words_;
  OwnedGraph begin_graph_, after_graph_;
  OwnedExec begin_, start_, step_, after_;
  OwnedEvent begun_;
  std::array<OwnedEvent, kRowsAhead> row_done_;
  std::size_t nodes_ = 0;
};

}  // namespace

std::unique_ptr<LoopRunner> make_launched_loop(GraphDriver& driver, const LoopParts& parts,
                                               const LoopState& state, const LoopWords* words) {
  return std::make_unique<LaunchedLoop>(driver, parts, state, words);
}

}  // namespace fd
