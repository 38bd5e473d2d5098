# fastdiff_options: what every target of ours is compiled with.
add_library(fastdiff_options INTERFACE)
target_include_directories(fastdiff_options INTERFACE
                           "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>"
                           "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>")
target_link_libraries(fastdiff_options INTERFACE Threads::Threads)

# nvcc's own stub code does not pass these warnings; check_compile.sh has those for the .cu files.
set(host_code "$<COMPILE_LANGUAGE:C,CXX>")
target_compile_options(
  fastdiff_options
  INTERFACE
    "$<${host_code}:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion>"
    # GCC joins a * b + c into one rounding unless told otherwise, and then the results depend on
    # the processor. Where we want it joined we write fma.
    "$<${host_code}:-ffp-contract=off>"
    "$<$<AND:${host_code},$<BOOL:${FASTDIFF_WERROR}>>:-Werror>")

if(FASTDIFF_SANITIZE)
  set(flags "-fsanitize=${FASTDIFF_SANITIZE}")
  target_compile_options(fastdiff_options INTERFACE
    "$<${host_code}:${flags};-fno-sanitize-recover=all;-fno-omit-frame-pointer;-g>")
  target_link_options(fastdiff_options INTERFACE "${flags}")
endif()
