// What every kind of engine is made with, from Python values.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>

#include "bindings/arguments.h"
#include "plan/engine_file.h"
#include "plan/engine_options.h"

namespace fd {

// `progress` (a function of what is done and the total, or None) must outlive the options' use.
EngineOptions engine_options(const pybind11::object& threads, const pybind11::object& precision,
                             bool autotune, const std::string& cache_dir,
                             const pybind11::object& progress);
void check_function(const char* name, const pybind11::object& value);
// A path's text as the system has it.
std::string path_text(const char* name, const pybind11::object& path);

// make(the file's content), without the GIL. `file`: bytes, or a path.
template <class Make>
auto with_engine_file(const pybind11::object& file, const Make& make) {
  if (pybind11::isinstance<pybind11::bytes>(file)) {
    const auto bytes = pybind11::cast<std::string_view>(file);
    pybind11::gil_scoped_release release;
    return make(read_engine_file(bytes.data(), bytes.size(), "file"));
  }
  const std::string path = path_text("file", file);
  pybind11::gil_scoped_release release;
  return make(read_engine_file(path));
}

}  // namespace fd
