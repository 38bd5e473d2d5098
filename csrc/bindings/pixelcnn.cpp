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

// What a request borrows from Python.
struct Borrowed {
  py::array_t<std::uint64_t, py::array::c_style> seeds;
  py::array_t<float, py::array::c_style> contexts;
  LevelArray given;
  std::vector<py::ssize_t> shape;  // [n, C, H, W]
};

void borrow_context(const PixelEngine& engine, const py::object& context, Borrowed* borrowed,
                    PixelRequest* request) {
  if (context.is_none()) return;
  const std::int64_t width = engine.file().context_width;
  const py::ssize_t n = borrowed->shape[0];
  const std::string expected =
      "a float32 array [" + std::to_string(n) + ", " + std::to_string(width) + "] or None";
  if (width == 0) {
    throw py::value_error("context: expected None, this model takes none, got " +
                          describe(context));
  }
  borrowed->contexts = array_of<float>("context", context, 2, expected.c_str());
  if (borrowed->contexts.shape(0) != n || borrowed->contexts.shape(1) != width) {
    throw py::value_error("context: expected " + expected + ", got " + describe(context));
  }
  request->context = borrowed->contexts.data();
}

void borrow_levels(const char* name, const py::object& levels, Borrowed* borrowed,
                   PixelRequest* request) {
  const auto& shape = borrowed->shape;
  const std::string expected = "an int32 array [" + std::to_string(shape[0]) + ", " +
                               std::to_string(shape[1]) + ", " + std::to_string(shape[2]) + ", " +
                               std::to_string(shape[3]) + "]";
  borrowed->given = array_of<std::int32_t>(name, levels, 4, expected.c_str());
  if (!std::equal(shape.begin(), shape.end(), borrowed->given.shape())) {
    throw py::value_error(std::string(name) + ": expected " + expected + ", got " +
                          describe(levels));
  }
  request->given = borrowed->given.data();
}

// The levels, and how many of them are there.
py::tuple run(const PixelEngine& engine, const Borrowed& borrowed, PixelRequest* request,
              const py::object& on_progress) {
  check_function("on_progress", on_progress);
  OnProgress progress(on_progress);
  request->on_progress = [&](std::size_t done, std::size_t total) { return progress(done, total); };
  LevelArray out(borrowed.shape);
  std::int32_t* to = out.mutable_data();
  std::size_t done = 0;
  {
    py::gil_scoped_release release;
    done = engine.sample(*request, to);
  }
  progress.rethrow();
  return py::make_tuple(std::move(out), done);
}

py::tuple sample(const PixelEngine& engine, const py::object& seeds, const py::object& context,
                 double temperature, const py::object& top_k, const py::object& given,
                 const py::object& on_progress, const py::object& slope) {
  Borrowed borrowed;
  borrowed.seeds = array_of<std::uint64_t>("seeds", seeds, 1, "a uint64 array [n]");
  borrowed.shape = sizes(engine, borrowed.seeds.size());
  PixelRequest request;
  request.n = static_cast<std::size_t>(borrowed.seeds.size());
  request.seeds = borrowed.seeds.data();
  borrow_context(engine, context, &borrowed, &request);
  if (!given.is_none()) borrow_levels("given", given, &borrowed, &request);
  request.rule.temperature = static_cast<float>(temperature);
  if (!top_k.is_none()) {
    request.rule.top_k = static_cast<int>(whole_number("top_k", top_k, 1, engine.file().levels));
  }
  if (!slope.is_none()) {
    request.slope = whole_number("slope", slope, engine.smallest_slope(), 1 << 30);
  }
  return run(engine, borrowed, &request, on_progress);
}

py::array_t<float> log_probabilities(const PixelEngine& engine, const py::object& levels,
                                     const py::object& context, const py::object& on_progress) {
  const py::ssize_t n =
      py::isinstance<py::array>(levels) && py::reinterpret_borrow<py::array>(levels).ndim() == 4
          ? py::reinterpret_borrow<py::array>(levels).shape(0)
          : 1;
  Borrowed borrowed;
  borrowed.shape = sizes(engine, n);
  PixelRequest request;
  request.n = static_cast<std::size_t>(n);
  borrow_levels("levels", levels, &borrowed, &request);
  for (py::ssize_t i = 0; i < borrowed.given.size(); ++i) {
    if (request.given[i] < 0) {
      throw py::value_error("levels: expected 0 to " + std::to_string(engine.file().levels - 1) +
                            ", got " + std::to_string(request.given[i]));
    }
  }
  borrow_context(engine, context, &borrowed, &request);
  const std::vector<std::uint64_t> seeds(request.n);
  request.seeds = seeds.data();  // nothing is drawn
  py::array_t<float> out(borrowed.shape);
  request.log_p = out.mutable_data();
  run(engine, borrowed, &request, on_progress);
  return out;
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
      .def("log_probabilities", &log_probabilities, py::arg("levels"),
           py::arg("context") = py::none(), py::arg("on_progress") = py::none(),
           "ln p of each colour of each pixel given those before it, float32 [n, C, H, W].")
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
