// What can be said of the CUDA half on any machine: it answers, and says why where it can't run.

#include "check.h"
#include "cuda/device.h"
#include "cuda/noise.h"

TEST(the_reason_is_one_sentence) {
  const std::string reason = fd::cuda_unusable_reason();
  std::printf("%s\n", reason.empty() ? "usable" : reason.c_str());
  if (reason.empty()) {
    CHECK(fd::cuda_compiled_version() != nullptr);
  } else {
    CHECK(reason.back() == '.' && !check::contains(reason, "\n"));
  }
}

TEST(noise_without_a_device_says_why) {
  if (fd::cuda_unusable_reason().empty()) return;  // this is about machines that have none
  const std::uint64_t seed = 1;
  float out[4];
  fd::CudaNoiseRequest request;
  request.seeds = &seed;
  request.n = 1;
  request.count = 4;
  const std::string error = fd::cuda_noise(fd::NoiseKind::normal, request, out, 0);
  std::printf("%s\n", error.c_str());
  CHECK(!error.empty());
}

TEST_MAIN
