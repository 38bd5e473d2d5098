// The border that no exception crosses: runs a body and turns what it throws into a status and this
// thread's error text.
#pragma once

#include <cstddef>
#include <exception>
#include <new>

#include "core/error.h"
#include "fastdiff/fastdiff.h"

namespace fd {

// Copies the text, cut where it's too long: reporting an error must not need memory.
void set_last_error(const char* text) noexcept;

template <class Body>
fd_status guarded(Body&& body) noexcept {
  try {
    body();
    return FD_OK;
  } catch (const InvalidArgument& error) {
    set_last_error(error.what());
    return FD_INVALID_ARGUMENT;
  } catch (const std::bad_alloc&) {
    set_last_error("out of memory");
    return FD_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    set_last_error(error.what());
    return FD_INTERNAL_ERROR;
  } catch (...) {
    set_last_error("an exception of unknown type");
    return FD_INTERNAL_ERROR;
  }
}

}  // namespace fd
