#include <algorithm>
#include <cstring>
#include <string>

#include "core/error.h"
#include "cpu/elementwise.h"
#include "cpu/loop_nest.h"

namespace fd {
namespace {

// The row that a float names, towards zero; nan is row 0.
std::ptrdiff_t row_of(float index, std::ptrdiff_t rows) {
  if (!(index > 0)) return 0;
  if (index >= static_cast<float>(rows)) return rows - 1;
  return std::min(static_cast<std::ptrdiff_t>(index), rows - 1);
}

}  // namespace

void embedding(const EmbeddingCall& call, Isa) {
  if (call.rows < 1) fail_argument("rows", "at least 1", std::to_string(call.rows));
  const Items items = items_of(call.samples * call.count, call.share);
  for (std::ptrdiff_t item = items.begin; item < items.end; ++item) {
    const std::ptrdiff_t sample = item / call.count, i = item % call.count;
    const float index = call.index[sample * call.index_sample + i];
    std::memcpy(call.out + sample * call.out_sample + i * call.width,
                call.table + row_of(index, call.rows) * call.width,
                static_cast<std::size_t>(call.width) * sizeof(float));
  }
}

}  // namespace fd
