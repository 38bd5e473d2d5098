#include "core/error.h"
#include "cuda/device.h"
#include "cuda/graph_driver.h"

namespace fd {

std::shared_ptr<GraphDriver> cuda_graph_driver(const void*) {
  throw InvalidArgument(cuda_unusable_reason());
}

}  // namespace fd
