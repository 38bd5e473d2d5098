// The two ways to run the rows of a graph loop.
//
//   while loop      one graph:  begin -> start -> while { step -> keep_preview -> advance }
//   launched loop   graphs one after another, a row at a time, from a C++ loop
#pragma once

#include <memory>

#include "cuda/graph_driver.h"
#include "cuda/graph_parts.h"

namespace fd {

class LoopRunner {
 public:
  virtual ~LoopRunner() = default;
  // Puts all rows on the stream. std::runtime_error: the driver's reason; a part may be on the
  // stream by then.
  virtual void queue(StreamHandle stream) = 0;
  // The nodes that a launch runs, those of one row counted once.
  virtual std::size_t node_count() const = 0;
};

// InvalidArgument: start or step hold what a while node can't.
std::unique_ptr<LoopRunner> make_while_loop(GraphDriver& driver, const LoopParts& parts,
                                            const LoopState& state);

// `words` is the host's address of state.words.
std::unique_ptr<LoopRunner> make_launched_loop(GraphDriver& driver, const LoopParts& parts,
                                               const LoopState& state, const LoopWords* words);

}  // namespace fd
