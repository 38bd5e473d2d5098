# fastdiff-run: the command over the C API. It sees the public header and links the shared library,
# as any embedder's program does.
add_executable(fastdiff-run tools/run.cpp tools/options.cpp tools/output.cpp tools/png.cpp
                            tools/sheet.cpp)
target_link_libraries(fastdiff-run PRIVATE fastdiff_options fastdiff)
# Finds the library wherever the installed folder is moved to.
file(RELATIVE_PATH library_from_bin "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
set_target_properties(fastdiff-run PROPERTIES INSTALL_RPATH "$ORIGIN/${library_from_bin}")
