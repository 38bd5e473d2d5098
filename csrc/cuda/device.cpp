#include "cuda/device.h"

#include <cuda_runtime_api.h>

namespace fd {
namespace {

// The oldest compute capability that this build holds code for (see FASTDIFF_CUDA_ARCHITECTURES).
constexpr int kOldestMajor = 8;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

std::string cuda_unusable_reason() {
  int devices = 0;
  const cudaError_t counted = cudaGetDeviceCount(&devices);
  if (counted == cudaErrorInsufficientDriver) {
    int driver = 0;  // stays 0 where libcuda.so is not there at all
    cudaDriverGetVersion(&driver);
    if (driver == 0) return "no NVIDIA driver is installed (libcuda.so.1 was not found).";
    return "the NVIDIA driver supports CUDA " + version_text(driver) + ", but this build needs " +
           version_text(CUDART_VERSION) + ".";
  }
  if (counted == cudaErrorNoDevice || (counted == cudaSuccess && devices == 0)) {
    return "the NVIDIA driver sees no device (is CUDA_VISIBLE_DEVICES set to nothing?).";
  }
  if (counted != cudaSuccess) {
    return std::string("CUDA does not start: ") + cudaGetErrorString(counted) + ".";
  }
  int newest_major = 0;
  for (int device = 0; device < devices; ++device) {
    int major = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess) {
      newest_major = major > newest_major ? major : newest_major;
    }
  }
  if (newest_major < kOldestMajor) {
    return "the GPU is too old: compute capability " + std::to_string(kOldestMajor) +
           ".0 or newer is needed, and the newest here is " + std::to_string(newest_major) + ".x.";
  }
  return "";
}

const char* cuda_compiled_version() {
  static const std::string version = version_text(CUDART_VERSION);
  return version.c_str();
}

}  // namespace fd
