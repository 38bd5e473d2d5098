// A file that is there as a whole or not at all.
#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

namespace fd::run {

class Output {
 public:
  // Opens a file beside `path`, whose folder is made where it's missing. Done before the work that
  // the file is for: a path that cannot be written would lose it. Failure says why.
  explicit Output(const std::string& path);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Writes all there is to write, and puts the file in its place.
  void finish(const void* data, std::size_t size);

 private:
  [[noreturn]] void fail_writing() const;

  std::string path_, part_;
  std::FILE* file_ = nullptr;
};

}  // namespace fd::run
