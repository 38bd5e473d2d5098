# The installed package: library, header, fastdiff-run; find_package(fastdiff) gives
# fastdiff::fastdiff, and pkg-config knows fastdiff. Every path inside is relative, so that the
# installed folder can be moved.
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/fastdiff")
install(TARGETS fastdiff fastdiff-run EXPORT fastdiff_targets COMPONENT library)
install(DIRECTORY include/fastdiff TYPE INCLUDE COMPONENT library)
# The library needs no other package, so its targets alone are the package's configuration.
install(EXPORT fastdiff_targets NAMESPACE fastdiff:: FILE fastdiff-config.cmake
        DESTINATION "${package_dir}" COMPONENT library)
write_basic_package_version_file(fastdiff-config-version.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH prefix_from_pkgconfig "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig"
     "${CMAKE_INSTALL_PREFIX}")
configure_file(capi/fastdiff.pc.in fastdiff.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/fastdiff-config-version.cmake"
        DESTINATION "${package_dir}" COMPONENT library)
install(FILES "${PROJECT_BINARY_DIR}/fastdiff.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT library)
