// The native engine for Python: `_native.Engine`. The GIL is free while C++ works; it is taken for
// the caller's functions, and now and then to see whether Ctrl-C was pressed.
#include "sampling/engine.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/engine_options.h"
#include "bindings/rooms.h"
#include "core/error.h"
#include "pixelcnn/engine.h"
#include "sampling/loop.h"

namespace py = pybind11;

namespace fd {
namespace {

using FloatArray = py::array_t<float, py::array::c_style>;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kSignalInterval{50};

std::vector<py::ssize_t> sizes(std::size_t n, const LoopShape& shape) {
  return {static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(shape.channels),
          static_cast<py::ssize_t>(shape.height), static_cast<py::ssize_t>(shape.width)};
}

// A float32 array of exactly this shape, or an empty handle for None. It must outlive what borrows.
std::optional<FloatArray> floats(const char* name, const py::object& value,
                                 const std::vector<py::ssize_t>& shape) {
  if (value.is_none()) return std::nullopt;
  std::string expected = "a float32 array [";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    expected += (i ? ", " : "") + std::to_string(shape[i]);
  }
  expected += "] or None";
  auto array = array_of<float>(name, value, static_cast<int>(shape.size()), expected.c_str());
  if (!std::equal(shape.begin(), shape.end(), array.shape())) {
    throw py::value_error(std::string(name) + ": expected " + expected + ", got " +
                          describe(value));
  }
  return array;
}

const float* data_of(const std::optional<FloatArray>& array) {
  return array ? array->data() : nullptr;
}

// x and x0 after a row, as Python sees them: copies, and only until the callback has returned.
class Row {
 public:
  Row(const RowView* view, std::vector<py::ssize_t> shape)
      : view_(view), shape_(std::move(shape)) {}
  void end() { view_ = nullptr; }

  FloatArray x() const {
    const float* data = running().x();
    FloatArray out(shape_);
    std::copy_n(data, out.size(), out.mutable_data());
    return out;
  }

  bool has_x0() const { return running().has_x0(); }

  FloatArray x0() const {
    const RowView& view = running();
    if (!view.has_x0()) {
      fail_argument("x0", "a table that says how the image follows from x and m",
                    "none of that in row " + std::to_string(view.rows_done() - 1));
    }
    FloatArray out(shape_);
    view.x0(out.mutable_data());
    return out;
  }

 private:
  const RowView& running() const {
    if (view_ == nullptr) throw std::runtime_error("row: it is over, x and x0 are gone");
    return *view_;
  }

  const RowView* view_;
  std::vector<py::ssize_t> shape_;
};

// What the loop calls after every row, on the thread that called sample, without the GIL.
class AfterRow {
 public:
  AfterRow(py::object function, std::vector<py::ssize_t> shape)
      : function_(std::move(function)), shape_(std::move(shape)) {}

  bool operator()(const RowView& view) {
    const bool look = Clock::now() - looked_ >= kSignalInterval;
    if (function_.is_none() && !look) return true;
    py::gil_scoped_acquire acquire;
    // Kept for later rather than thrown through the loop: its threads know nothing of Python.
    try {
      if (look) {
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        looked_ = Clock::now();
      }
      return function_.is_none() || call(view);
    } catch (...) {
      thrown_ = std::current_exception();
      return false;
    }
  }

  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  bool call(const RowView& view) {
    const auto row = std::make_shared<Row>(&view, shape_);
    struct End {
      Row* row;
      ~End() { row->end(); }
    } end{row.get()};
    const py::object answer = function_(view.rows_done(), row);
    return !answer.is(py::bool_(false));
  }

  py::object function_;
  std::vector<py::ssize_t> shape_;
  Clock::time_point looked_ = Clock::now();
  std::exception_ptr thrown_;
};

std::unique_ptr<Engine> make_engine(const py::object& file, const py::object& threads,
                                    const py::object& precision, bool exact, bool autotune,
                                    const std::string& cache_dir, const py::object& progress) {
  EngineOptions options = engine_options(threads, precision, autotune, cache_dir, progress);
  options.exact = exact;
  return with_engine_file(file,
                          [&](EngineFile read) { return Engine::make(std::move(read), options); });
}

// An engine of the kind that the file's model asks for.
py::object load_engine(const py::object& file, const py::object& threads,
                       const py::object& precision, bool exact, bool autotune,
                       const std::string& cache_dir, const py::object& progress) {
  EngineOptions options = engine_options(threads, precision, autotune, cache_dir, progress);
  options.exact = exact;
  std::unique_ptr<PixelEngine> pixels;
  std::unique_ptr<Engine> engine = with_engine_file(file, [&](EngineFile read) {
    if (read.levels == 0) return Engine::make(std::move(read), options);
    pixels = PixelEngine::make(std::move(read), options);
    return std::unique_ptr<Engine>();
  });
  return pixels ? py::cast(std::move(pixels)) : py::cast(std::move(engine));
}

py::list profile(const Engine& engine, const py::object& batch, const py::object& repeats) {
  const auto size = static_cast<std::size_t>(whole_number("batch", batch, 1, 1 << 20));
  const auto times = static_cast<int>(whole_number("repeats", repeats, 1, 1 << 20));
  std::vector<StepTime> steps;
  {
    py::gil_scoped_release release;
    steps = engine.profile(size, times);
  }
  py::list found;
  for (const StepTime& step : steps) {
    found.append(py::make_tuple(step.step, step.path, step.seconds / step.samples, step.flops));
  }
  return found;
}

py::tuple sample(const Engine& engine, const py::object& table, double init_scale,
                 const py::object& seeds, const py::object& context, const py::object& guidance,
                 const py::object& guidance_rescale, const py::object& guided_rows,
                 const py::object& x_T, const py::object& image, bool from_image,
                 const py::object& mask, const py::object& after_row) {
  const std::string table_shape = "a float64 array [rows, " + std::to_string(kTableColumns) + "]";
  const auto rows = array_of<double>("table", table, 2, table_shape.c_str());
  if (rows.shape(0) < 1 || rows.shape(1) != kTableColumns) {
    throw py::value_error("table: expected " + table_shape + ", got " + describe(table));
  }
  const auto seed_array = array_of<std::uint64_t>("seeds", seeds, 1, "a uint64 array [n]");
  const py::ssize_t n = seed_array.size();
  const LoopShape shape = engine.shape();
  const std::vector<py::ssize_t> images = sizes(static_cast<std::size_t>(n), shape);
  const py::ssize_t width = static_cast<py::ssize_t>(engine.file().context_width);
  if (width == 0 && !context.is_none()) {
    throw py::value_error("context: expected None, this model takes none, got " +
                          describe(context));
  }
  check_function("after_row", after_row);
  const auto contexts = floats("context", context, {n, width});
  const auto scales = floats("guidance", guidance, {n});
  const auto rescales = floats("guidance_rescale", guidance_rescale, {n});
  const auto starts = floats("x_T", x_T, images);
  const auto pictures = floats("image", image, images);
  const auto masks = floats("mask", mask, {n, 1, images[2], images[3]});

  SampleRequest request;
  request.table = {rows.data(), static_cast<std::size_t>(rows.shape(0)), init_scale};
  request.n = static_cast<std::size_t>(n);
  request.seeds = seed_array.data();
  request.context = data_of(contexts);
  request.guidance = data_of(scales);
  request.guidance_rescale = data_of(rescales);
  if (!guided_rows.is_none()) {
    request.guided_rows =
        static_cast<std::size_t>(whole_number("guided_rows", guided_rows, 0, rows.shape(0)));
  }
  request.x_T = data_of(starts);
  request.image = data_of(pictures);
  request.from_image = from_image;
  request.mask = data_of(masks);
  AfterRow after(after_row, images);
  request.after_row = [&after](const RowView& view) { return after(view); };

  FloatArray out(images);
  float* x = out.mutable_data();
  std::size_t done = 0;
  {
    py::gil_scoped_release release;
    done = engine.sample(request, x);
  }
  after.rethrow();
  return py::make_tuple(std::move(out), done);
}

FloatArray predict(const Engine& engine, const py::object& x, const py::object& times,
                   const py::object& context) {
  const auto time_array = array_of<float>("times", times, 1, "a float32 array [n]");
  const auto n = static_cast<std::size_t>(time_array.size());
  const std::vector<py::ssize_t> images = sizes(n, engine.shape());
  const auto width = static_cast<py::ssize_t>(engine.file().context_width);
  const auto inputs = floats("x", x, images);
  if (!inputs) throw py::value_error("x: expected a float32 array, got None");
  if (width == 0 && !context.is_none()) {
    throw py::value_error("context: expected None, this model takes none, got " +
                          describe(context));
  }
  const auto contexts = floats("context", context, {time_array.size(), width});
  FloatArray out(images);
  float* m = out.mutable_data();
  {
    py::gil_scoped_release release;
    engine.predict(n, inputs->data(), time_array.data(), data_of(contexts), m);
  }
  return out;
}

py::array_t<double> table_of(const Engine& engine) {
  const EngineFile& file = engine.file();
  py::array_t<double> out(
      {static_cast<py::ssize_t>(file.table_rows()), py::ssize_t{kTableColumns}});
  std::copy(file.table.begin(), file.table.end(), out.mutable_data());
  return out;
}

}  // namespace

void bind_engine(py::module_& module) {
  py::class_<Row, std::shared_ptr<Row>>(module, "RowView",
                                        "What is there after a row of the table.")
      .def("x", &Row::x, "x, float32 [n, C, H, W], a copy: mixed for the next row, not clipped.")
      .def("x0", &Row::x0, "What the row took the clean image for, float32 [n, C, H, W], a copy.")
      .def_property_readonly("has_x0", &Row::has_x0, "Whether the table says how x0 follows.");

  py::class_<Engine>(module, "Engine", "An engine file, planned for this machine. Immutable.")
      .def(py::init(&make_engine), py::arg("file"), py::arg("threads") = 0,
           py::arg("precision") = "float32", py::arg("exact") = false, py::arg("autotune") = true,
           py::arg("cache_dir") = "", py::arg("progress") = py::none())
      .def("sample", &sample, py::arg("table"), py::arg("init_scale"), py::arg("seeds"),
           py::arg("context") = py::none(), py::arg("guidance") = py::none(),
           py::arg("guidance_rescale") = py::none(), py::arg("guided_rows") = py::none(),
           py::arg("x_T") = py::none(), py::arg("image") = py::none(),
           py::arg("from_image") = false, py::arg("mask") = py::none(),
           py::arg("after_row") = py::none(),
           "x after all rows, float32 [n, C, H, W], and the rows done; fewer where "
           "after_row(rows_done, row) returned False.")
      .def("predict", &predict, py::arg("x"), py::arg("times"), py::arg("context") = py::none(),
           "The network alone: m, float32 [n, C, H, W].")
      .def(
          "describe",
          [](const Engine& engine, const py::object& batch) {
            const auto size = static_cast<std::size_t>(whole_number("batch", batch, 1, 1 << 20));
            py::gil_scoped_release release;
            return engine.describe(size);
          },
          py::arg("batch") = 1, "The plan for a batch, in lines.")
      .def("profile", &profile, py::arg("batch") = 1, py::arg("repeats") = 20,
           "Where the time of a step goes: (what, module, seconds, direct FLOPs) of one sample.")
      .def_property_readonly("name", [](const Engine& e) { return e.file().name; })
      .def_property_readonly("sample_shape",
                             [](const Engine& e) {
                               const LoopShape shape = e.shape();
                               return py::make_tuple(shape.channels, shape.height, shape.width);
                             })
      .def_property_readonly("context_width",
                             [](const Engine& e) { return e.file().context_width; })
      .def_property_readonly("labels",
                             [](const Engine& e) { return py::tuple(py::cast(e.file().labels)); })
      .def_property_readonly("table", &table_of)
      .def_property_readonly("table_name", [](const Engine& e) { return e.file().table_name; })
      .def_property_readonly("init_scale", [](const Engine& e) { return e.file().init_scale; })
      .def_property_readonly("to_noise", [](const Engine& e) { return e.file().to_noise; })
      .def_property_readonly("schedule", [](const Engine& e) { return e.file().schedule; })
      .def_property_readonly("threads", &Engine::threads);

  module.def("load_engine", &load_engine, py::arg("file"), py::arg("threads") = 0,
             py::arg("precision") = "float32", py::arg("exact") = false, py::arg("autotune") = true,
             py::arg("cache_dir") = "", py::arg("progress") = py::none(),
             "An Engine, or for an autoregressive model's file a PixelEngine.");
}

}  // namespace fd
