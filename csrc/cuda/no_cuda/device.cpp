#include "cuda/device.h"

namespace fd {

std::string cuda_unusable_reason() {
  return "fastdiff was built without CUDA (nvcc was not found, or FASTDIFF_CUDA=off).";
}

const char* cuda_compiled_version() { return nullptr; }

}  // namespace fd
