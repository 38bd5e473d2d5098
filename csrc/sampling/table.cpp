#include "sampling/table.h"

#include <algorithm>

namespace fd {

Depths table_depths(const TableView& table) {
  Depths depths;
  for (std::size_t k = 0; k < table.rows; ++k) {
    const double* row = table.data + k * kColumnCount;
    for (int back = 1; back < kHistory; ++back) {
      if (row[kColumnX + back] != 0) depths.x = std::max(depths.x, back + 1);
      if (row[kColumnM + back] != 0) depths.m = std::max(depths.m, back + 1);
    }
  }
  return depths;
}

bool scales_input(const TableView& table) {
  for (std::size_t k = 0; k < table.rows; ++k) {
    if (table.data[k * kColumnCount + kColumnInScale] != 1) return true;
  }
  return false;
}

void table_weights(const TableView& table, std::vector<RowWeights>* rows) {
  rows->clear();
  for (std::size_t k = 0; k < table.rows; ++k) {
    rows->push_back(row_weights(table.data + k * kColumnCount));
  }
}

}  // namespace fd
