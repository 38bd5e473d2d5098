// Python values to C++ ones. Whatever is wrong becomes a ValueError that names the argument, says
// what was expected and what came.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>

namespace fd {

// A whole number from low to high; anything with __index__ will do.
std::int64_t whole_number(const char* name, pybind11::handle value, std::int64_t low,
                          std::int64_t high);

// "a float64 array of shape [3, 2]", "a str": for messages.
std::string describe(pybind11::handle value);

// A NumPy array of exactly this dtype and number of dimensions, copied only if not contiguous.
// Other dtypes are refused, not converted: a float seed is a mistake, not a request to round.
template <class T>
pybind11::array_t<T, pybind11::array::c_style> array_of(const char* name, pybind11::handle value,
                                                        int dimensions, const char* expected) {
  using Array = pybind11::array_t<T, pybind11::array::c_style>;
  if (!pybind11::isinstance<pybind11::array_t<T>>(value) ||
      pybind11::reinterpret_borrow<pybind11::array>(value).ndim() != dimensions) {
    throw pybind11::value_error(std::string(name) + ": expected " + expected + ", got " +
                                describe(value));
  }
  Array array = Array::ensure(value);
  if (!array) throw pybind11::error_already_set();
  return array;
}

}  // namespace fd
