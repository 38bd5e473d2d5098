#include "sampling/loop_memory.h"

#include <cstdint>
#include <new>

namespace fd {
namespace {

constexpr std::align_val_t kAlignment{64};

std::size_t array_bytes(const TableView& table, std::size_t n, std::size_t elements, bool guided) {
  const Depths depths = table_depths(table);
  const int arrays = depths.x + 1 + depths.m + (guided ? 1 : 0) + (scales_input(table) ? 1 : 0);
  const std::size_t bytes = static_cast<std::size_t>(arrays) * sizeof(float);
  if (elements != 0 && n > SIZE_MAX / bytes / elements) throw std::bad_alloc();
  return bytes * n * elements;
}

float* allocate(std::size_t bytes) {
  return static_cast<float*>(::operator new(bytes, kAlignment));  // not touched here
}

}  // namespace

void LoopMemory::Free::operator()(float* memory) const { ::operator delete(memory, kAlignment); }

LoopMemory::LoopMemory(const TableView& table, std::size_t n, std::size_t elements, bool guided)
    : factors(guided ? n : 0),
      asks(guided ? 2 * n : n),
      n_(n),
      elements_(elements),
      x_arrays_(static_cast<std::size_t>(table_depths(table).x) + 1),
      m_arrays_(static_cast<std::size_t>(table_depths(table).m)),
      guided_(guided),
      memory_(allocate(array_bytes(table, n, elements, guided))) {}

std::size_t LoopMemory::bytes(const TableView& table, std::size_t n, std::size_t elements,
                              bool guided) {
  return array_bytes(table, n, elements, guided) + (guided ? n : 0) * sizeof(float) +
         (guided ? 2 : 1) * n * sizeof(Ask) + table.rows * sizeof(RowWeights);
}

}  // namespace fd
