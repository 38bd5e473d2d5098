// The graph loop for Python: `_native.GraphLoop`.

#include "cuda/graph_loop.h"

#include <pybind11/stl.h>

#include <limits>
#include <memory>
#include <string>

#include "bindings/arguments.h"
#include "bindings/rooms.h"

namespace py = pybind11;

namespace fd {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

// An address or a raw handle as an int, from Tensor.data_ptr(), CUDAGraph.raw_cuda_graph() or
// Stream.cuda_stream.
std::uintptr_t address(const char* name, const py::object& value) {
  return static_cast<std::uintptr_t>(whole_number(name, value, 0, kMost));
}

// None: null.
template <class T>
T* pointer(const char* name, const py::object& value) {
  return value.is_none() ? nullptr : reinterpret_cast<T*>(address(name, value));
}

std::size_t size(const char* name, const py::object& value) {
  return static_cast<std::size_t>(whole_number(name, value, 1, kMost));
}

StreamHandle stream_of(const py::object& stream) { return StreamHandle{address("stream", stream)}; }

// The loop, whose end may wait for the device: not with the GIL, which others need meanwhile.
class Loop {
 public:
  explicit Loop(const LoopParts& parts) {
    py::gil_scoped_release release;  // the first use of CUDA may start the driver
    check_loop_parts(parts);
    loop_ = std::make_unique<GraphLoop>(cuda_graph_driver(parts.count), parts);
  }
  Loop(const Loop&) = delete;
  ~Loop() {
    py::gil_scoped_release release;
    loop_.reset();
  }

  GraphLoop* operator->() const { return loop_.get(); }

 private:
  std::unique_ptr<GraphLoop> loop_;
};

std::unique_ptr<Loop> make_loop(const py::object& step, const py::object& start,
                                const py::object& rows, const py::object& batch,
                                const py::object& count, const py::object& x,
                                const py::object& elements, const py::object& x0,
                                const py::object& previews, const py::object& x0_previews,
                                const py::object& schedule, const std::string& mode) {
  LoopParts parts;
  parts.step = GraphHandle{address("step", step)};
  if (!start.is_none()) parts.start = GraphHandle{address("start", start)};
  parts.rows = reinterpret_cast<std::int32_t*>(address("rows", rows));
  parts.batch = size("batch", batch);
  parts.count = reinterpret_cast<const std::int32_t*>(address("count", count));
  parts.x = reinterpret_cast<const float*>(address("x", x));
  parts.elements = size("elements", elements);
  parts.x0 = pointer<const float>("x0", x0);
  parts.previews = pointer<float>("previews", previews);
  parts.x0_previews = pointer<float>("x0_previews", x0_previews);
  parts.schedule = pointer<const std::int32_t>("schedule", schedule);
  parts.mode = loop_mode(mode);
  return std::make_unique<Loop>(parts);
}

void launch(const Loop& loop, const py::object& stream) {
  const StreamHandle on = stream_of(stream);
  py::gil_scoped_release release;
  loop->launch(on);
}

void wait(const Loop& loop, const py::object& stream) {
  const StreamHandle on = stream_of(stream);
  py::gil_scoped_release release;
  loop->wait(on);
}

void close(const Loop& loop) {
  py::gil_scoped_release release;
  loop->close();
}

constexpr const char* kDoc =
    R"(All rows of a table for one launch: a captured step, looped on the device.

    begin -> start -> while (done < count and not cancelled) { step -> keep_preview -> advance }

step, start (or None): raw cudaGraph_t, torch.cuda.CUDAGraph(keep_graph=True).raw_cuda_graph().
start makes x; step runs the row that rows[b] names for sample b. All others but batch and
elements are addresses on one CUDA device: rows int32 [batch], written here, 0 before the first
row and 1 more after each; count int32 [1], read at every launch; x (and x0, or None) float32
[batch, elements]; previews (and x0_previews, or None) float32 [slots, batch, elements];
schedule (None without previews) int32 [at least count]: the slot that keeps x after row k, or
-1.

mode: 'while', one graph and one launch; 'launches', a C++ loop that launches a row at a time,
with the same results; 'auto', the first where the driver can (CUDA 12.4), else the second.

The caller keeps the tensors and the captured graphs, whose memory the step works in, alive
until the loop is closed, and touches neither graph while the loop is made. Every method may be
called from any thread.

ValueError: a wrong argument, graphs that the mode can't hold, or CUDA's reason where it can't
be used.
RuntimeError: what was being done and the driver's reason.)";

}  // namespace

void bind_graph_loop(py::module_& module) {
  py::class_<Loop>(module, "GraphLoop", kDoc)
      .def(py::init(&make_loop), py::arg("step"), py::arg("start"), py::arg("rows"),
           py::arg("batch"), py::arg("count"), py::arg("x"), py::arg("elements"),
           py::arg("x0") = py::none(), py::arg("previews") = py::none(),
           py::arg("x0_previews") = py::none(), py::arg("schedule") = py::none(),
           py::arg("mode") = "auto")
      .def("launch", &launch, py::arg("stream"),
           "Puts all rows on the stream (a cudaStream_t as int) and returns: at once in mode "
           "'while', with the last rows still to be done in mode 'launches'. A launch waits for "
           "the one before it.")
      .def("wait", &wait, py::arg("stream"),
           "Returns when all that is on the stream, and the last launch, are done.")
      .def(
          "cancel", [](const Loop& loop) { loop->cancel(); },
          "Ends the last launch after the row that runs (mode 'launches': after at most four "
          "more); without one nothing happens.")
      .def("close", &close,
           "Waits for what is running, then gives everything back; launch and wait are refused "
           "from then on. Going out of use does the same.")
      .def_property_readonly(
          "rows_done", [](const Loop& loop) { return loop->rows_done(); },
          "The rows that the last launch has done so far; asks no stream and waits for nothing.")
      .def_property_readonly(
          "mode", [](const Loop& loop) { return std::string(loop_mode_name(loop->mode())); },
          "'while' or 'launches'.")
      .def_property_readonly(
          "node_count", [](const Loop& loop) { return loop->node_count(); },
          "The nodes that a launch runs, those of one row counted once.");
}

}  // namespace fd
