# Sets FASTDIFF_HAVE_CUDA, by FASTDIFF_CUDA = auto | on | off.
if(NOT FASTDIFF_CUDA MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "FASTDIFF_CUDA: expected auto, on or off, got '${FASTDIFF_CUDA}'")
endif()

set(FASTDIFF_HAVE_CUDA OFF)
if(NOT FASTDIFF_CUDA STREQUAL "off")
  # Set before the language is enabled: CMake would otherwise pick its own.
  set(CMAKE_CUDA_ARCHITECTURES "${FASTDIFF_CUDA_ARCHITECTURES}")
  if(NOT CMAKE_CUDA_COMPILER)
    unset(CMAKE_CUDA_COMPILER CACHE)  # look again: nvcc may have come since the last run
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    # Static, so that the module loads on a machine with neither toolkit nor driver.
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    find_package(CUDAToolkit REQUIRED)
    set(FASTDIFF_HAVE_CUDA ON)
  elseif(FASTDIFF_CUDA STREQUAL "on")
    message(FATAL_ERROR "FASTDIFF_CUDA=on, but nvcc was not found: put it on PATH or set CUDACXX")
  endif()
endif()
message(STATUS "fastdiff: CUDA ${FASTDIFF_HAVE_CUDA} (FASTDIFF_CUDA=${FASTDIFF_CUDA})")
