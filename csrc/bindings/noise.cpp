// The noise functions for Python.

#include "cpu/noise.h"

#include <limits>
#include <stdexcept>
#include <string>

#include "bindings/arguments.h"
#include "bindings/rooms.h"
#include "core/cpu_count.h"
#include "core/error.h"
#include "cuda/noise.h"

namespace py = pybind11;

namespace fd {
namespace {

constexpr std::int64_t kMaxWord = 0xffffffff;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 34;

template <class T>
using Fill = void (*)(const NoiseRequest&, T*, int, const NoiseKernels*);

template <class T, Fill<T> fill>
py::array_t<T> noise(const py::object& seeds, const py::object& step, const py::object& stream,
                     const py::object& count, const py::object& first_element,
                     const py::object& threads) {
  const auto seed_array = array_of<std::uint64_t>("seeds", seeds, 1, "a uint64 array [n]");
  NoiseRequest request;
  request.seeds = seed_array.data();
  request.n = static_cast<std::size_t>(seed_array.size());
  py::array_t<std::uint32_t, py::array::c_style> step_array;  // keeps the steps alive
  if (py::isinstance<py::array>(step) && py::reinterpret_borrow<py::array>(step).ndim() != 0) {
    const std::string expected = "an int or a uint32 array [" + std::to_string(request.n) + "]";
    step_array = array_of<std::uint32_t>("step", step, 1, expected.c_str());
    if (step_array.size() != seed_array.size()) {
      throw py::value_error("step: expected " + expected + ", got " + describe(step));
    }
    request.steps = step_array.data();
  } else {
    request.step = static_cast<std::uint32_t>(whole_number("step", step, 0, kMaxWord));
  }
  request.stream = static_cast<std::uint32_t>(whole_number("stream", stream, 0, kMaxWord));
  request.first_element =
      static_cast<std::uint64_t>(whole_number("first_element", first_element, 0, kMaxElements));
  request.count = static_cast<std::size_t>(whole_number("count", count, 0, kMaxElements));
  const int thread_count = static_cast<int>(whole_number("threads", threads, 0, kMaxThreads));

  py::array_t<T> out({seed_array.size(), static_cast<py::ssize_t>(request.count)});
  T* data = out.mutable_data();
  {
    py::gil_scoped_release release;
    fill(request, data, thread_count, nullptr);
  }
  return out;
}

py::array_t<std::uint32_t> philox(const py::object& counter, const py::object& key) {
  const auto counters = array_of<std::uint32_t>("counter", counter, 2, "a uint32 array [m, 4]");
  const auto keys = array_of<std::uint32_t>("key", key, 2, "a uint32 array [m, 2]");
  const py::ssize_t m = counters.shape(0);
  if (counters.shape(1) != 4) {
    throw py::value_error("counter: expected a uint32 array [m, 4], got " + describe(counter));
  }
  if (keys.shape(0) != m || keys.shape(1) != 2) {
    throw py::value_error("key: expected a uint32 array [" + std::to_string(m) + ", 2], got " +
                          describe(key));
  }
  py::array_t<std::uint32_t> out({m, py::ssize_t{4}});
  philox_blocks(counters.data(), keys.data(), static_cast<std::size_t>(m), out.mutable_data());
  return out;
}

// An address as an int, from Tensor.data_ptr() or the like.
template <class T>
T* pointer(const char* name, const py::object& value) {
  const auto address = static_cast<std::uintptr_t>(
      whole_number(name, value, 0, std::numeric_limits<std::int64_t>::max()));
  return reinterpret_cast<T*>(address);
}

template <NoiseKind kind>
void cuda_fill(const py::object& seeds_ptr, const py::object& steps_ptr, const py::object& n,
               const py::object& stream, const py::object& count, const py::object& first_element,
               const py::object& out_ptr, const py::object& cuda_stream) {
  CudaNoiseRequest request;
  request.seeds = pointer<const std::uint64_t>("seeds_ptr", seeds_ptr);
  request.steps = pointer<const std::uint32_t>("steps_ptr", steps_ptr);
  request.n = static_cast<std::size_t>(whole_number("n", n, 0, kMaxElements));
  request.stream = static_cast<std::uint32_t>(whole_number("stream", stream, 0, kMaxWord));
  request.count = static_cast<std::size_t>(whole_number("count", count, 0, kMaxElements));
  request.first_element =
      static_cast<std::uint64_t>(whole_number("first_element", first_element, 0, kMaxElements));
  void* out = pointer<void>("out_ptr", out_ptr);
  const auto stream_address =
      reinterpret_cast<std::uintptr_t>(pointer<void>("cuda_stream", cuda_stream));
  if (request.first_element % 4 != 0) {
    fail_argument("first_element", "a multiple of 4", std::to_string(request.first_element));
  }
  if (request.n != 0 && request.count != 0) {
    if (request.seeds == nullptr) fail_argument("seeds_ptr", "the address of n seeds", "0");
    if (out == nullptr) fail_argument("out_ptr", "the address of n * count values", "0");
  }
  std::string reason;
  {
    py::gil_scoped_release release;  // the first call may start the driver
    reason = cuda_noise(kind, request, out, stream_address);
  }
  if (!reason.empty()) throw std::runtime_error(reason);
}

template <NoiseKind kind>
void define_cuda(py::module_& module, const char* name, const char* doc) {
  module.def(name, &cuda_fill<kind>, py::arg("seeds_ptr"), py::arg("steps_ptr"), py::arg("n"),
             py::arg("stream"), py::arg("count"), py::arg("first_element"), py::arg("out_ptr"),
             py::arg("cuda_stream"), doc);
}

template <class T, Fill<T> fill>
void define(py::module_& module, const char* name, const char* doc) {
  module.def(name, &noise<T, fill>, py::arg("seeds"), py::arg("step"), py::arg("stream"),
             py::arg("count"), py::arg("first_element") = 0, py::arg("threads") = 0, doc);
}

}  // namespace

void bind_noise(py::module_& module) {
  define<std::uint32_t, noise_words>(module, "noise_words",
                                     "The Philox words, uint32 [n, count]: row i from seeds[i].");
  define<float, noise_uniform>(module, "noise_uniform",
                               "Uniforms in (0, 1], float32 [n, count]: row i from seeds[i].");
  define<float, noise_normal>(module, "noise_normal",
                              "Standard normals, float32 [n, count]: row i from seeds[i].");
  define_cuda<NoiseKind::words>(module, "cuda_noise_words",
                                "Puts the fill of out, uint32 [n, count], on the CUDA stream.");
  define_cuda<NoiseKind::uniform>(module, "cuda_noise_uniform",
                                  "Puts the fill of out, float32 [n, count], on the CUDA stream.");
  define_cuda<NoiseKind::normal>(module, "cuda_noise_normal",
                                 "Puts the fill of out, float32 [n, count], on the CUDA stream.");
  module.def("philox4x32_10", &philox, py::arg("counter"), py::arg("key"),
             "Philox4x32-10 of m counters and keys, uint32 [m, 4].");
}

}  // namespace fd
