# _native: the Python module. setup.py builds this target and puts the file into the package.
set(PYBIND11_FINDPYTHON ON)
find_package(pybind11 2.13 CONFIG REQUIRED)
file(GLOB binding_sources CONFIGURE_DEPENDS bindings/*.cpp)
pybind11_add_module(_native MODULE NO_EXTRAS ${binding_sources})
target_link_libraries(_native PRIVATE fastdiff_engine fastdiff_cuda)
target_compile_definitions(_native PRIVATE FASTDIFF_VERSION="${FASTDIFF_VERSION}")
if(NOT APPLE)
  # nodelete: the worker threads outlive the interpreter's last reference, and so must their code.
  target_link_options(_native PRIVATE "LINKER:-z,nodelete" "LINKER:--exclude-libs,ALL")
endif()
