#include "plan/engine_options.h"

#include <string>

#include "core/cpu_count.h"
#include "core/error.h"
#include "cpu/dispatch.h"

namespace fd {

PlanOptions plan_options(const EngineOptions& options) {
  PlanOptions plan;
  plan.isa = active_isa();
  plan.precision = options.precision;
  plan.exact = options.exact;
  plan.threads = options.threads > 0 ? options.threads : default_thread_count();
  if (options.threads < 0 || options.threads > kMaxThreads) {
    fail_argument("threads", "0 (the default) to " + std::to_string(kMaxThreads),
                  std::to_string(options.threads));
  }
  if (plan.precision == Precision::bf16 && plan.isa < Isa::avx512_bf16) {
    fail_argument("precision",
                  "float32 on a processor without bfloat16 dot products (or with "
                  "FASTDIFF_MAX_ISA below avx512_bf16)",
                  "bf16");
  }
  return plan;
}

}  // namespace fd
