// One function per room of the library, each adding that room's functions to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace fd {

void bind_noise(pybind11::module_& module);
void bind_engine(pybind11::module_& module);
void bind_pixelcnn(pybind11::module_& module);
void bind_graph_loop(pybind11::module_& module);

}  // namespace fd
