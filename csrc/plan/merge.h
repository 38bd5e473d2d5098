// Two programs as one.
#pragma once

#include "plan/program.h"

namespace fd {

// `first` and then `second`, whose inputs of the same name as outputs of `first` are those. Inputs
// of both stand for one another by name.
Program merged(const Program& first, const Program& second);

}  // namespace fd
