// A request for samples, as the loop gets it: checked, complete, borrowed from the caller.
// fastdiff/backends/base.py has the same fields with the same meaning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace fd {

// Rows of a sampler table (samplers/table.py), float64 as built: [rows, 19] row-major.
struct TableView {
  const double* data = nullptr;
  std::size_t rows = 0;
  double init_scale = 1;
};

class RowView;  // what a callback may look at: loop.h

struct SampleRequest {
  TableView table;
  std::size_t n = 0;
  const std::uint64_t* seeds = nullptr;      // [n]
  const float* context = nullptr;            // [n, context_width], or null
  const float* guidance = nullptr;           // [n], or null: one evaluation a row
  const float* guidance_rescale = nullptr;   // [n] in [0, 1], or null
  std::size_t guided_rows = SIZE_MAX;        // from this row on only the conditional output is used
  const float* x_T = nullptr;                // [n, C, H, W], or null: init_scale * the seeds' noise
  const float* image = nullptr;              // [n, C, H, W], or null
  bool from_image = false;                   // start at alpha[0] * image + sigma[0] * eps
  const float* mask = nullptr;               // [n, 1, H, W], or null
  const std::int32_t* first_rows = nullptr;  // reserved: null
  // Called on the calling thread after every row; false stops. Null: no call.
  std::function<bool(const RowView&)> after_row;
};

}  // namespace fd
