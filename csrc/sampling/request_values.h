// What follows from a request's times and contexts, without x: computed before the loop, once for
// each row of the table, each distinct context, and each pair of the two.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/aligned.h"
#include "sampling/conditions.h"
#include "sampling/contexts.h"
#include "sampling/part.h"
#include "sampling/worker_memory.h"

namespace fd {

class Network;

// Values of pairs are stored for the whole request where they take no more than this; else the
// stepper makes them before each step.
constexpr std::size_t kMostPairBytes = std::size_t{64} << 20;

class RequestValues {
 public:
  // Kept from the request before where times and contexts are the same. `workers`: to compute in.
  void compute(const Network& network, const Conditions& conditions,
               std::vector<WorkerMemory>& workers);

  // Whether there are tables by pair.
  bool pairs_stored() const { return pairs_stored_; }
  // The line of a table for a row and a context (of contexts()).
  const float* at(const Source& source, std::size_t row, std::size_t context) const {
    const std::size_t line = source.kind == Source::row       ? row
                             : source.kind == Source::context ? context
                                                              : context * rows_ + row;
    return tables_[source.kind][source.table].data() +
           static_cast<std::ptrdiff_t>(line) * source.floats;
  }
  const Contexts& contexts() const { return contexts_; }
  std::size_t bytes() const;  // held

 private:
  void compute_part(const Network& network, const Part& part, AlignedFloats* tables,
                    std::size_t rows, std::size_t contexts, std::vector<WorkerMemory>& workers);

  Contexts contexts_;
  std::size_t rows_ = 0, context_count_ = 0;  // of the tables
  bool complete_ = false, pairs_stored_ = false;
  std::vector<AlignedFloats> tables_[3];  // by Source::Kind
};

}  // namespace fd
