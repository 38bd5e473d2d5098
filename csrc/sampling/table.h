// A sampler table as the loop runs it: float32 weights, and what the rows need of memory.
#pragma once

#include <vector>

#include "cpu/update.h"
#include "sampling/request.h"

namespace fd {

struct Depths {
  int x = 1, m = 1;  // how many x, and outputs, a row looks at, the newest included: 1 to 4
};

Depths table_depths(const TableView& table);
bool scales_input(const TableView& table);  // whether any row's in_scale is not 1
void table_weights(const TableView& table, std::vector<RowWeights>* rows);

}  // namespace fd
