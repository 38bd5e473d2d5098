// Autoregressive engines for Python: `_native.PixelEngine`.
#include <pybind11/stl.h>

#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/engine_options.h"
#include "bindings/rooms.h"
#include "pixelcnn/engine.h"

namespace py = pybind11;

namespace fd {
namespace {

using LevelArray = py::array_t<std::int32_t, py::array::c_style>;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLookInterval{50};

std::vector<py::ssize_t> sizes(const PixelEngine& engine, py::ssize_t n) {
  const std::int64_t* shape = engine.file().sample_shape;
  return {n, shape[0], shape[1], shape[2]};
}

std::unique_ptr<PixelEngine> make_engine(const py::object& file, const py::object& threads,
                                         const py::object& precision, bool autotune,
                                         const std::string& cache_dir, const py::object& progress) {
  const EngineOptions options = engine_options(threads, precision, autotune, cache_dir, progress);
  return with_engine_file(
      file, [&](EngineFile read) { return PixelEngine::make(std::move(read), options); });
}

// Called between pixels, without the GIL: now and then looks for Ctrl-C and tells the caller.
class OnProgress {
 public:
  explicit OnProgress(py::object function) : function_(std::move(function)) {}

  bool operator()(std::size_t done, std::size_t total) {
    if (Clock::now() - looked_ < kLookInterval && done < total) return true;
    py::gil_scoped_acquire acquire;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      looked_ = Clock::now();
      return function_.is_none() || !function_(done, total).is(py::bool_(false));
    } catch (...) {
      thrown_ = std::current_exception();  // the engine's threads know nothing of Python
      return false;
    }
  }
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  py::object function_;
  Clock::time_point looked_ = Clock::now();
  std::exception_ptr thrown_;
};

py::tuple sample(const PixelEngine& engine, const py::object& seeds, const py::object& context,
                 double temperature, const py::object& top_k, const py::object& given,
                 const py::object& on_progress, const py::object& slope) {
  const auto seed_array = array_of<std::uint64_t>("seeds", seeds, 1, "a uint64 array [n]");
  const py::ssize_t n = seed_array.size();
  const std::vector<py::ssize_t> shape = sizes(engine, n);
  const std::int64_t width = engine.file().context_width;
  PixelRequest request;
  request.n = static_cast<std::size_t>(n);
  request.seeds = seed_array.data();
  py::array_t<float, py::array::c_style> contexts;
  if (!context.is_none()) {
    const std::string expected = width == 0 ? std::string("None, this model takes none")
                                            : "a float32 array [" + std::to_string(n) + ", " +
                                                  std::to_string(width) + "] or None";
    if (width == 0)
      throw py::value_error("context: expected " + expected + ", got " + describe(context));
    contexts = array_of<float>("context", context, 2, expected.c_str());
    if (contexts.shape(0) != n || contexts.shape(1) != width) {
      throw py::value_error("context: expected " + expected + ", got " + describe(context));
    }
    request.context = contexts.data();
  }
  LevelArray levels;
  if (!given.is_none()) {
    const std::string expected = "an int32 array [" + std::to_string(n) + ", " +
                                 std::to_string(shape[1]) + ", " + std::to_string(shape[2]) + ", " +
                                 std::to_string(shape[3]) + "] or None";
    levels = array_of<std::int32_t>("given", given, 4, expected.c_str());
    if (!std::equal(shape.begin(), shape.end(), levels.shape())) {
      throw py::value_error("given: expected " + expected + ", got " + describe(given));
    }
    request.given = levels.data();
  }
  request.rule.temperature = static_cast<float>(temperature);
  if (!top_k.is_none()) {
    request.rule.top_k = static_cast<int>(whole_number("top_k", top_k, 1, engine.file().levels));
  }
  if (!slope.is_none()) {
    request.slope = whole_number("slope", slope, engine.smallest_slope(), 1 << 30);
  }
  check_function("on_progress", on_progress);
  OnProgress progress(on_progress);
  request.on_progress = [&](std::size_t done, std::size_t total) { return progress(done, total); };
  LevelArray out(shape);
  std::int32_t* to = out.mutable_data();
  std::size_t done = 0;
  {
    py::gil_scoped_release release;
    done = engine.sample(request, to);
  }
  progress.rethrow();
  return py::make_tuple(std::move(out), done);
}

}  // namespace

void bind_pixelcnn(py::module_& module) {
  py::class_<PixelEngine>(module, "PixelEngine",
                          "An autoregressive model's engine file, planned for this machine.")
      .def(py::init(&make_engine), py::arg("file"), py::arg("threads") = 0,
           py::arg("precision") = "float32", py::arg("autotune") = true, py::arg("cache_dir") = "",
           py::arg("progress") = py::none())
      .def("sample", &sample, py::arg("seeds"), py::arg("context") = py::none(),
           py::arg("temperature") = 1.0, py::arg("top_k") = py::none(),
           py::arg("given") = py::none(), py::arg("on_progress") = py::none(),
           py::arg("slope") = py::none(),
           "Levels, int32 [n, C, H, W], -1 where on_progress(done, total) ended the run by "
           "returning False, and how many colours of pixels are there.")
      .def(
          "describe",
          [](const PixelEngine& engine, const py::object& batch) {
            const auto n = static_cast<std::size_t>(whole_number("batch", batch, 1, 1 << 20));
            py::gil_scoped_release release;
            return engine.describe(n);
          },
          py::arg("batch") = 1, "How a batch is run, in lines.")
      .def(
          "map_bytes",
          [](const PixelEngine& engine, const py::object& batch) {
            return engine.map_bytes(
                static_cast<std::size_t>(whole_number("batch", batch, 1, 1 << 30)));
          },
          py::arg("batch") = 1, "Bytes that the layers of a request of so many samples take.")
      .def_property_readonly("slope", &PixelEngine::smallest_slope, "The smallest wavefront slope.")
      .def_property_readonly("name", [](const PixelEngine& e) { return e.file().name; })
      .def_property_readonly("sample_shape",
                             [](const PixelEngine& e) {
                               const std::int64_t* s = e.file().sample_shape;
                               return py::make_tuple(s[0], s[1], s[2]);
                             })
      .def_property_readonly("levels", [](const PixelEngine& e) { return e.file().levels; })
      .def_property_readonly("context_width",
                             [](const PixelEngine& e) { return e.file().context_width; })
      .def_property_readonly(
          "labels", [](const PixelEngine& e) { return py::tuple(py::cast(e.file().labels)); })
      .def_property_readonly("threads", &PixelEngine::threads);
}

}  // namespace fd
