// One way to report a wrong input: name the argument, say what was expected and what came.
#pragma once

#include <stdexcept>
#include <string>

namespace fd {

// Thrown for anything that the caller got wrong. Other failures are std::runtime_error.
class InvalidArgument : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

[[noreturn]] inline void fail_argument(const std::string& name, const std::string& expected,
                                       const std::string& got) {
  throw InvalidArgument(name + ": expected " + expected + ", got " + got);
}

}  // namespace fd
