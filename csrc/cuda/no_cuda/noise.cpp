#include "cuda/noise.h"

#include "cuda/device.h"

namespace fd {

std::string cuda_noise(NoiseKind, const CudaNoiseRequest&, void*, std::uintptr_t) {
  return cuda_unusable_reason();
}

}  // namespace fd
