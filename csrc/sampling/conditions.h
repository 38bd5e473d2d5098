// What a network is asked about in one request: at which times, with which contexts, how often.
#pragma once

#include <cstddef>

namespace fd {

struct Conditions {
  const float* times = nullptr;  // [rows], of the table's rows
  std::size_t rows = 0;
  const float* context = nullptr;    // [n, context_width]; null: none, or zeros for every sample
  std::size_t n = 0;                 // samples
  bool unconditional = false;        // samples are asked about with a context of zeros, too
  bool every_row = true;             // each sample at each row; false: each at one of them
  std::size_t fewest = 0, most = 0;  // evaluations a row
};

}  // namespace fd
