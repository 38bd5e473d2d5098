// All rows of a table for one launch: a captured step in a loop on the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "cuda/graph_handles.h"
#include "cuda/graph_parts.h"
#include "cuda/graph_runners.h"

namespace fd {

// The words that host and device share, safe to use from any thread, closed or not.
class LoopMailbox {
 public:
  explicit LoopMailbox(GraphDriver& driver);

  void reset();
  void cancel();
  std::int32_t rows_done() const;
  // No kernel may be using the words any more.
  void close();

  LoopWords* device() const { return device_; }
  const LoopWords* host() const { return host_.get(); }

 private:
  mutable std::mutex mutex_;
  OwnedWords host_;
  LoopWords* device_ = nullptr;
  std::int32_t last_rows_done_ = 0;  // for after close
};

// Every member function may be called from any thread; cancel and rows_done return at once whatever
// the others are doing. One launch runs at a time. The driver is kept as long as the loop.
class GraphLoop {
 public:
  // InvalidArgument: a wrong part, a driver too old for the mode, or a graph that the mode can't
  // hold. std::runtime_error: the driver's reason. CUDA's graphs know no locks: while a loop is
  // made nobody else may use its captured graphs.
  GraphLoop(std::shared_ptr<GraphDriver> driver, const LoopParts& parts);
  GraphLoop(const GraphLoop&) = delete;
  ~GraphLoop();  // waits for what is running

  // Puts all rows on the stream, behind what is there. In mode in_graph it returns at once; in mode
  // launches when all but the last few rows are done. Waits first for the launch before it. After a
  // failed launch the loop can be launched again or closed.
  void launch(StreamHandle stream);
  // Returns when all that is on the stream, and the last launch, are done.
  void wait(StreamHandle stream);
  // The rows done by the last launch: while it runs, and after.
  std::int32_t rows_done() const { return mailbox_.rows_done(); }
  // The last launch ends after the row that is running (mode launches: after at most a few more);
  // without one nothing happens.
  void cancel() { mailbox_.cancel(); }
  // Waits for what is running and gives everything back; twice does no harm. After it, launch and
  // wait are refused. Where the waiting fails nothing is given back before the destructor does.
  void close();

  LoopMode mode() const { return mode_; }  // in_graph or launches
  // The nodes that a launch runs, those of one row counted once.
  std::size_t node_count() const { return nodes_; }

 private:
  GraphDriver::Reason finish();
  void mark_end(StreamHandle stream);

  std::shared_ptr<GraphDriver> driver_;
  LoopMode mode_;
  std::size_t nodes_ = 0;
  std::mutex mutex_;  // all but mailbox_
  LoopMailbox mailbox_;
  OwnedCounter done_;
  OwnedEvent end_;
  std::unique_ptr<LoopRunner> runner_;  // null: closed
  bool running_ = false;                // end_ is recorded and not waited for
};

}  // namespace fd
