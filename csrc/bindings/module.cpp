// fastdiff._native: what the library does, for Python. Arguments are checked and passed on; no
// arithmetic here. The room's other files are the only ones, with this, that know pybind11.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/rooms.h"
#include "core/cpu_count.h"
#include "cpu/dispatch.h"
#include "cuda/device.h"

namespace py = pybind11;

namespace {

std::vector<std::string> names_of(const std::vector<fd::Isa>& isas) {
  std::vector<std::string> names;
  for (fd::Isa isa : isas) names.emplace_back(fd::isa_name(isa));
  return names;
}

std::optional<std::string> cuda_status() {
  py::gil_scoped_release release;  // starting the driver takes a while
  std::string reason = fd::cuda_unusable_reason();
  return reason.empty() ? std::nullopt : std::optional<std::string>(std::move(reason));
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}

py::dict build_info() {
  const char* cuda = fd::cuda_compiled_version();
  py::dict info;
  info["compiler"] = compiler();
  info["cuda"] = cuda ? py::object(py::str(cuda)) : py::object(py::none());
  info["isas"] = names_of(fd::compiled_isas());
  return info;
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "fastdiff's C++ half. Importing it starts no thread and probes no device.";
  module.attr("version") = FASTDIFF_VERSION;
  module.def(
      "isa", [] { return std::string(fd::isa_name(fd::active_isa())); },
      "The instruction set in use: the widest of isas().");
  module.def(
      "isas", [] { return names_of(fd::available_isas()); },
      "The instruction sets that this build, this machine and FASTDIFF_MAX_ISA allow.");
  module.def("threads", &fd::default_thread_count,
             "The default number of threads: FASTDIFF_THREADS, else the CPUs that affinity and "
             "cgroup allow.");
  module.def("cuda_status", &cuda_status,
             "None where CUDA can be used, otherwise the reason why not, in one sentence.");
  module.def("build_info", &build_info,
             "The compiler, the CUDA version (None without CUDA) and the instruction sets that are "
             "compiled in.");
  fd::bind_noise(module);
  fd::bind_engine(module);
  fd::bind_pixelcnn(module);
  fd::bind_graph_loop(module);
}
