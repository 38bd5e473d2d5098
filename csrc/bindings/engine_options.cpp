#include "bindings/engine_options.h"

#include "core/cpu_count.h"

namespace py = pybind11;

namespace fd {
namespace {

Precision precision_of(const py::object& value) {
  if (py::isinstance<py::str>(value)) {
    const auto text = py::cast<std::string>(value);
    if (text == "float32") return Precision::float32;
    if (text == "bf16") return Precision::bf16;
  }
  throw py::value_error("precision: expected 'float32' or 'bf16', got " + describe(value));
}

}  // namespace

void check_function(const char* name, const py::object& value) {
  if (!value.is_none() && !PyCallable_Check(value.ptr())) {
    throw py::value_error(std::string(name) + ": expected a function or None, got " +
                          describe(value));
  }
}

EngineOptions engine_options(const py::object& threads, const py::object& precision, bool autotune,
                             const std::string& cache_dir, const py::object& progress) {
  EngineOptions options;
  options.threads = static_cast<int>(whole_number("threads", threads, 0, kMaxThreads));
  options.precision = precision_of(precision);
  options.autotune = autotune;
  options.cache_dir = cache_dir;
  check_function("progress", progress);
  // By pointer: copies of the std::function must not count references without the GIL.
  options.progress = [call = &progress](std::size_t done, std::size_t total) {
    py::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!call->is_none()) (*call)(done, total);
  };
  return options;
}

std::string path_text(const char* name, const py::object& path) {
  const auto text = py::reinterpret_steal<py::object>(PyOS_FSPath(path.ptr()));
  if (!text || !py::isinstance<py::str>(text)) {
    PyErr_Clear();
    throw py::value_error(std::string(name) + ": expected a path or bytes, got " + describe(path));
  }
  const auto encoded = py::reinterpret_steal<py::bytes>(PyUnicode_EncodeFSDefault(text.ptr()));
  if (!encoded) throw py::error_already_set();
  return py::cast<std::string>(encoded);
}

}  // namespace fd
