# fastdiff_cpu: core and kernels. fastdiff_engine: plans and the loop. fastdiff_cuda, and of it
# fastdiff_graph_loop, which needs no CUDA. Static, all of them. fastdiff: the shared C library.

# By room: a new op is a new file, and no list here has to know of it.
file(GLOB cpu_sources CONFIGURE_DEPENDS core/*.cpp ops/*.cpp cpu/*.cpp cpu/reference/*.cpp
     cpu/simd/*_plain.cpp)
file(GLOB engine_sources CONFIGURE_DEPENDS plan/*.cpp sampling/*.cpp pixelcnn/*.cpp)
file(GLOB capi_sources CONFIGURE_DEPENDS capi/*.cpp)
add_library(fastdiff_cpu STATIC ${cpu_sources})
target_link_libraries(fastdiff_cpu PUBLIC fastdiff_options)
add_library(fastdiff_engine STATIC ${engine_sources})
target_link_libraries(fastdiff_engine PUBLIC fastdiff_cpu)
# Tuning caches name the version that measured.
target_compile_definitions(fastdiff_engine PRIVATE FASTDIFF_VERSION="${FASTDIFF_VERSION}")

# The only files compiled for more than the baseline processor; they are called only where the
# machine has the instructions (cpu/dispatch.h). An object library, so that a test can look inside.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  file(GLOB avx2_sources CONFIGURE_DEPENDS cpu/simd/*_avx2.cpp)
  file(GLOB avx512_sources CONFIGURE_DEPENDS cpu/simd/*_avx512.cpp)
  file(GLOB bf16_sources CONFIGURE_DEPENDS cpu/simd/*_avx512_bf16.cpp)
  add_library(fastdiff_simd OBJECT ${avx2_sources} ${avx512_sources} ${bf16_sources})
  target_link_libraries(fastdiff_simd PRIVATE fastdiff_options)
  set(avx512_flags -mavx2 -mfma -mavx512f -mavx512vl -mavx512bw -mavx512dq)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12's own intrinsics leave merge operands undefined, and GCC warns of it (GCC bug 105593).
    list(APPEND avx512_flags -Wno-maybe-uninitialized -Wno-uninitialized)
  endif()
  set_source_files_properties(${avx2_sources} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
  set_source_files_properties(${avx512_sources} PROPERTIES COMPILE_OPTIONS "${avx512_flags}")
  set_source_files_properties(${bf16_sources} PROPERTIES COMPILE_OPTIONS
                              "${avx512_flags};-mavx512bf16")
  target_sources(fastdiff_cpu PRIVATE $<TARGET_OBJECTS:fastdiff_simd>)
  # PUBLIC: dispatch.h asks for it too.
  target_compile_definitions(fastdiff_cpu PUBLIC FD_HAVE_X86_SIMD)
endif()

# By name: a .cu file, and a .cpp file that cuda/no_cuda/ has a stand-in for (of the same name, or of
# a .cu file's), is compiled with CUDA alone. The other .cpp files know no CUDA header.
file(GLOB cuda_sources CONFIGURE_DEPENDS cuda/*.cu)
file(GLOB no_cuda_sources CONFIGURE_DEPENDS cuda/no_cuda/*.cpp)
file(GLOB graph_loop_sources CONFIGURE_DEPENDS cuda/*.cpp)
foreach(stand_in ${no_cuda_sources})
  get_filename_component(name "${stand_in}" NAME)
  set(replaced "${CMAKE_CURRENT_SOURCE_DIR}/cuda/${name}")
  if(replaced IN_LIST graph_loop_sources)
    list(REMOVE_ITEM graph_loop_sources "${replaced}")
    list(APPEND cuda_sources "${replaced}")
  endif()
endforeach()
add_library(fastdiff_graph_loop STATIC ${graph_loop_sources})
target_link_libraries(fastdiff_graph_loop PUBLIC fastdiff_options)
# For its tests, which link the engine as all do; whoever calls nothing of it gets nothing of it.
target_link_libraries(fastdiff_engine INTERFACE fastdiff_graph_loop)

if(FASTDIFF_HAVE_CUDA)
  add_library(fastdiff_cuda STATIC ${cuda_sources})
  target_link_libraries(fastdiff_cuda PRIVATE CUDA::cudart_static)
  add_custom_target(check_cuda_compile
                    COMMAND ${CMAKE_COMMAND} -E env "NVCC=${CMAKE_CUDA_COMPILER}"
                            "${PROJECT_SOURCE_DIR}/cuda/check_compile.sh"
                    COMMENT "nvcc compile check")
else()
  add_library(fastdiff_cuda STATIC ${no_cuda_sources})
endif()
target_link_libraries(fastdiff_cuda PUBLIC fastdiff_graph_loop)

add_library(fastdiff SHARED ${capi_sources})
add_library(fastdiff::fastdiff ALIAS fastdiff)
target_link_libraries(fastdiff PRIVATE fastdiff_engine)
target_compile_definitions(fastdiff PRIVATE FD_BUILDING_LIBRARY
                                            FASTDIFF_VERSION="${FASTDIFF_VERSION}")
target_include_directories(fastdiff PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
                                           "$<INSTALL_INTERFACE:include>")
set_target_properties(fastdiff PROPERTIES VERSION "${PROJECT_VERSION}"
                                          SOVERSION "${PROJECT_VERSION_MAJOR}")
if(NOT APPLE)
  set(exports "${PROJECT_SOURCE_DIR}/capi/exports.map")
  set_target_properties(fastdiff PROPERTIES LINK_DEPENDS "${exports}")
  # nodelete: the worker threads outlive a dlclose, and so must their code.
  target_link_options(fastdiff PRIVATE "LINKER:--version-script=${exports}" "LINKER:-z,nodelete")
endif()

include(GNUInstallDirs)  # here for the paths that tools.cmake and package.cmake relate
include(cmake/tools.cmake)
include(cmake/package.cmake)
