#include <algorithm>
#include <string>

#include "core/error.h"
#include "cpu/attention.h"
#include "cpu/dispatch.h"
#include "cpu/softmax_kernels.h"

namespace fd {

void softmax(const SoftmaxCall& call, Isa isa) {
  if (call.samples <= 0 || call.rows <= 0 || call.length <= 0) return;
  if (call.share.parts < 1 || call.share.part < 0 || call.share.part >= call.share.parts) {
    fail_argument("share", "0 <= part < parts",
                  std::to_string(call.share.part) + " of " + std::to_string(call.share.parts));
  }
  if (call.in == nullptr) fail_argument("in", "a pointer to rows", "null");
  if (call.out == nullptr) fail_argument("out", "a pointer to rows", "null");
  const SoftmaxKernels& kernels = FD_KERNELS(isa, kSoftmax);
  const std::ptrdiff_t total = call.samples * call.rows;
  const std::ptrdiff_t last = total * (call.share.part + 1) / call.share.parts;
  for (std::ptrdiff_t i = total * call.share.part / call.share.parts; i < last; ++i) {
    const std::ptrdiff_t sample = i / call.rows, row = i % call.rows;
    kernels.row(call.in + sample * call.in_sample + row * call.in_stride,
                call.out + sample * call.out_sample + row * call.out_stride, call.length);
  }
}

}  // namespace fd
