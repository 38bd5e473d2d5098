#include "bindings/arguments.h"

#include <string>

namespace py = pybind11;

namespace fd {

std::string describe(py::handle value) {
  if (!py::isinstance<py::array>(value)) {
    std::string text = py::cast<std::string>(py::repr(value));
    if (text.size() > 60) text = text.substr(0, 60) + "...";
    return text + " (" + py::cast<std::string>(py::type::of(value).attr("__name__")) + ")";
  }
  const auto array = py::reinterpret_borrow<py::array>(value);
  std::string shape;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    shape += (i ? ", " : "") + std::to_string(array.shape(i));
  }
  return "an array of " + py::cast<std::string>(py::str(array.dtype())) + " with shape [" + shape +
         "]";
}

std::int64_t whole_number(const char* name, py::handle value, std::int64_t low, std::int64_t high) {
  // bool has __index__ too, but True as a count is a slip.
  if (!PyBool_Check(value.ptr()) && PyIndex_Check(value.ptr())) {
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (number) {
      int overflow = 0;
      const long long result = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
      if (overflow == 0 && result >= low && result <= high) return result;
    }
    PyErr_Clear();  // an array that is not a scalar has an __index__ that fails
  }
  throw py::value_error(std::string(name) + ": expected a whole number from " +
                        std::to_string(low) + " to " + std::to_string(high) + ", got " +
                        describe(value));
}

}  // namespace fd
