#include "tools/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "tools/options.h"

namespace fd::run {

Output::Output(const std::string& path)
    : path_(path), part_(path + "." + std::to_string(getpid()) + ".part") {
  const auto folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error || std::filesystem::is_directory(path, error)) {
    errno = error ? error.value() : EISDIR;
    fail_writing();
  }
  file_ = std::fopen(part_.c_str(), "wb");
  if (file_ == nullptr) fail_writing();
}

Output::~Output() {
  if (file_ != nullptr) std::fclose(file_);
  if (!part_.empty()) std::remove(part_.c_str());
}

void Output::finish(const void* data, std::size_t size) {
  if (std::fwrite(data, 1, size, file_) != size) fail_writing();
  const int closed = std::fclose(file_);
  file_ = nullptr;
  if (closed != 0 || std::rename(part_.c_str(), path_.c_str()) != 0) fail_writing();
  part_.clear();
}

void Output::fail_writing() const {
  throw Failure("cannot write " + path_ + " (" + std::strerror(errno) + ")");
}

}  // namespace fd::run
