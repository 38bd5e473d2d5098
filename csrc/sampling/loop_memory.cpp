#include "sampling/loop_memory.h"

#include <cstdint>
#include <new>

namespace fd {

void LoopMemory::hold(const TableView& table, std::size_t n, std::size_t elements, bool guided) {
  const Depths depths = table_depths(table);
  n_ = n;
  elements_ = elements;
  x_arrays_ = static_cast<std::size_t>(depths.x) + 1;
  m_arrays_ = static_cast<std::size_t>(depths.m);
  guided_ = guided;
  const std::size_t arrays =
      x_arrays_ + m_arrays_ + (guided ? 1 : 0) + (scales_input(table) ? 1 : 0);
  if (elements != 0 && n > SIZE_MAX / sizeof(float) / arrays / elements) throw std::bad_alloc();
  arrays_.hold(arrays * n * elements);
  table_weights(table, &rows);
  factors.resize(guided ? n : 0);
  asks.resize(guided ? 2 * n : n);
}

std::size_t LoopMemory::bytes() const {
  return (arrays_.size() + factors.capacity()) * sizeof(float) + asks.capacity() * sizeof(Ask) +
         rows.capacity() * sizeof(RowWeights);
}

}  // namespace fd
