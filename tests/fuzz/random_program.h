// Programs out of bytes: any bytes make a valid one (plan/program.h), and small changes of the
// bytes change a node or a shape. What damaged files rarely reach, since most of them are refused,
// is reached by these: whatever a planner and its kernels can be asked for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "plan/engine_file.h"

namespace fuzz {

// A file whose step alone does everything, from x, t and the context to its one output.
fd::EngineFile random_file(const std::uint8_t* data, std::size_t size);

// The same network with its nodes in the parts that they belong to, by what they depend on, and
// pools in the convolutions before them. Names of what no other part reads are the same in all
// parts.
fd::EngineFile split(const fd::EngineFile& file);

// Multiplications of one sample, and elements written and read; sizes as they are declared.
double cost(const fd::Program& program);

}  // namespace fuzz
