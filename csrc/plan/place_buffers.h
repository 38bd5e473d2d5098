// Memory for buffers that live for a while: which may share it.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/step.h"

namespace fd {

// Sets each buffer's offset so that those alive at the same step do not overlap; the size of the
// whole. Largest first, each at the lowest gap that fits.
std::ptrdiff_t place_buffers(std::vector<Buffer>& buffers);

}  // namespace fd
