/* fastdiff's C API. Plain C99; link with -lfastdiff (pkg-config fastdiff, CMake
 * fastdiff::fastdiff).
 *
 * Every function that can fail returns FD_OK or a code below, and fd_last_error() then says in one
 * sentence what was expected and what came. All functions may be called from any thread. */
#ifndef FASTDIFF_FASTDIFF_H_
#define FASTDIFF_FASTDIFF_H_

#include <stddef.h>
#include <stdint.h>

#if defined(FD_BUILDING_LIBRARY)
#define FD_API __attribute__((visibility("default")))
#else
#define FD_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fd_status {
  FD_OK = 0,
  FD_INVALID_ARGUMENT = 1, /* the caller's mistake, a wrong environment variable included */
  FD_OUT_OF_MEMORY = 2,
  FD_INTERNAL_ERROR = 3
} fd_status;

/* The version of the library, "major.minor.patch". */
FD_API const char* fd_version(void);

/* The instruction set in use: "scalar", "avx2", "avx512" or "avx512_bf16"; NULL where
 * FASTDIFF_MAX_ISA is set to anything else, and fd_last_error() says so. */
FD_API const char* fd_isa_name(void);

/* The text of this thread's last failure, "" where there was none. Valid until the thread's next
 * failure. */
FD_API const char* fd_last_error(void);

/* Noise as a function of (seed, step, stream, element): Philox4x32-10 with key = seed and counter =
 * (element / 4, step, stream, 0). Element e of row i of out [n, count] belongs to seeds[i], and
 * does not depend on n, count or n_threads. Streams: 0 initial x, 1 step noise, 2 training, 3
 * autoregressive choices. n_threads: 0 for the default (FASTDIFF_THREADS, else the CPUs this
 * process may use). n or count 0 writes nothing, and the pointers may then be NULL. count is at
 * most 2^34.
 *
 * fd_words: the 32-bit words. fd_uniform: u = (word + 0.5) * 2^-32 in (0, 1]. fd_normal: standard
 * normals by Box-Muller, within 2e-6 of float64 math on the same u. */
FD_API fd_status fd_words(const uint64_t* seeds, size_t n, uint32_t step, uint32_t stream,
                          size_t count, uint32_t* out, int n_threads);
FD_API fd_status fd_uniform(const uint64_t* seeds, size_t n, uint32_t step, uint32_t stream,
                            size_t count, float* out, int n_threads);
FD_API fd_status fd_normal(const uint64_t* seeds, size_t n, uint32_t step, uint32_t stream,
                           size_t count, float* out, int n_threads);

#ifdef __cplusplus
}
#endif

#endif /* FASTDIFF_FASTDIFF_H_ */
