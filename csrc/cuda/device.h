// Whether CUDA can be used here, and if not, why. no_cuda/device.cpp stands in for device.cpp in
// builds without CUDA.
#pragma once

#include <string>

namespace fd {

// Empty where a device can be used; otherwise the reason, in one sentence. The first call may start
// the driver, which takes some 0.1 s.
std::string cuda_unusable_reason();

// The CUDA version compiled in, "13.0"; null in builds without CUDA.
const char* cuda_compiled_version();

}  // namespace fd
