// A part's inputs where they lie, or gathered.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sampling/part.h"

namespace fd {

// Floats from one address to the next, where all are evenly spaced: then a kernel can step through
// them, and nothing has to be gathered. Addresses in different arrays may be, too.
template <class AddressOf>
bool evenly_spaced(std::size_t count, const AddressOf& address_of, std::ptrdiff_t* floats) {
  const auto number = [&](std::size_t i) {
    return static_cast<std::intptr_t>(reinterpret_cast<std::uintptr_t>(address_of(i)));
  };
  const std::intptr_t bytes = count > 1 ? number(1) - number(0) : 0;
  for (std::size_t i = 2; i < count; ++i) {
    if (number(i) - number(i - 1) != bytes) return false;
  }
  *floats = bytes / static_cast<std::intptr_t>(sizeof(float));
  return bytes % static_cast<std::intptr_t>(sizeof(float)) == 0;
}

// Binds inputs [sources.size()] for `count` samples, sample k's at address_of(source, k): as they
// lie, or as copies in `staging`, which moves on behind them. Members of a team call it with the
// same arguments, and one of them `copies`. True where something is to be copied.
template <class AddressOf>
bool bind_inputs(const std::vector<Source>& sources, std::size_t count, const AddressOf& address_of,
                 bool copies, Bound* inputs, float** staging) {
  bool gathered = false;
  for (const Source& source : sources) {
    Bound& input = *inputs++;
    const auto address = [&](std::size_t k) { return address_of(source, k); };
    if (evenly_spaced(count, address, &input.sample)) {
      input.data = const_cast<float*>(address(0));
      continue;
    }
    input = {*staging, source.floats};
    gathered = true;
    for (std::size_t k = 0; k < count && copies; ++k) {
      std::copy_n(address(k), source.floats,
                  *staging + static_cast<std::ptrdiff_t>(k) * source.floats);
    }
    *staging += static_cast<std::ptrdiff_t>(count) * source.floats;
  }
  return gathered;
}

// Binds outputs for `count` samples to `staging`, which moves on behind them.
inline void bind_outputs(const Plan& plan, std::size_t count, Bound* outputs, float** staging) {
  for (std::size_t i = 0; i < plan.output_count(); ++i) {
    outputs[i] = {*staging, plan.output_floats(i)};
    *staging += static_cast<std::ptrdiff_t>(count) * plan.output_floats(i);
  }
}

}  // namespace fd
