// Images as pixels.
#include <cmath>
#include <cstddef>
#include <string>

#include "capi/guard.h"
#include "fastdiff/fastdiff.h"

namespace {

// The same float32 operations in the same order as fastdiff/data/pictures.py: the same pixels.
uint8_t pixel_of(float value) {
  if (std::isnan(value)) return 0;
  const float clipped = value < -1.0f ? -1.0f : value > 1.0f ? 1.0f : value;
  return static_cast<uint8_t>(std::nearbyint((clipped + 1.0f) * 127.5f));
}

}  // namespace

fd_status fd_images_to_u8(const float* images, size_t n, size_t channels, size_t height,
                          size_t width, uint8_t* out) {
  return fd::guarded([&] {
    size_t values = 1;
    for (const size_t size : {n, channels, height, width}) {
      if (size == 0) return;
      if (values > SIZE_MAX / sizeof(float) / size) {
        fd::fail_argument("n", "n * C * H * W values that memory can hold", std::to_string(n));
      }
      values *= size;
    }
    if (images == nullptr) fd::fail_argument("images", "n * C * H * W values", "null");
    if (out == nullptr) fd::fail_argument("out", "a pointer to n * C * H * W bytes", "null");
    const size_t plane = height * width;
    for (size_t i = 0; i < n; ++i) {
      for (size_t c = 0; c < channels; ++c) {
        const float* from = images + (i * channels + c) * plane;
        uint8_t* to = out + i * channels * plane + c;
        for (size_t p = 0; p < plane; ++p) to[p * channels] = pixel_of(from[p]);
      }
    }
  });
}
