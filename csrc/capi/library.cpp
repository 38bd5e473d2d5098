// What the C API says about itself: version, instruction set, last error.

#include <cstring>

#include "capi/guard.h"
#include "cpu/dispatch.h"

namespace fd {
namespace {

// A plain array, so that it needs no construction when a thread starts.
thread_local char last_error[512] = "";

}  // namespace

void set_last_error(const char* text) noexcept {
  std::strncpy(last_error, text, sizeof(last_error) - 1);
  last_error[sizeof(last_error) - 1] = '\0';
}

}  // namespace fd

const char* fd_version(void) { return FASTDIFF_VERSION; }

const char* fd_isa_name(void) {
  const char* name = nullptr;
  fd::guarded([&] { name = fd::isa_name(fd::active_isa()); });
  return name;
}

const char* fd_last_error(void) { return fd::last_error; }
