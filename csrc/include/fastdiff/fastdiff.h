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

/* ---- Engines: a model, a sampler and its number of steps, ready to draw ----
 *
 * An engine file (`engine.save("x.fdiff")` in Python) holds all of that and no code. One loaded
 * engine serves any number of threads at once, each call with memory of its own.
 *
 *   fd_engine* engine = NULL;
 *   fd_info info = {.size = sizeof info};
 *   fd_request request = {.size = sizeof request, .n = 8, .seed = 0};
 *   if (fd_engine_load("sprites16.fdiff", NULL, &engine) != FD_OK ||
 *       fd_engine_info(engine, &info) != FD_OK) ...
 *   float* images = malloc(8 * info.channels * info.height * info.width * sizeof(float));
 *   if (fd_sample(engine, &request, images, NULL) != FD_OK) ...
 *   fd_engine_free(engine);
 *
 * Arrays are row-major and of the host's byte order; images are [n, C, H, W] in [-1, 1]. Nothing
 * that a call is given is kept after it has returned, and every array stays its owner's.
 *
 * The structs below begin with `size`, the caller's sizeof: later versions add fields at the end,
 * and programs compiled for earlier ones go on working. In those that the caller fills in, zeros
 * are the defaults. */

typedef struct fd_engine fd_engine;

typedef enum fd_precision {
  FD_FLOAT32 = 0,
  FD_BF16 = 1 /* products of bfloat16, sums of float32; needs avx512_bf16 */
} fd_precision;

typedef struct fd_engine_options {
  size_t size;           /* sizeof(fd_engine_options) */
  int threads;           /* at most so many a call; 0: FASTDIFF_THREADS, else the CPUs there are */
  int precision;         /* an fd_precision, of the network; x and noise are float32 in either */
  int exact;             /* 1: only algorithms as exact as plain float32 sums */
  int no_autotune;       /* 1: choose algorithms by rule; 0: time them once, and keep the choice */
  const char* cache_dir; /* of those choices; NULL: FASTDIFF_CACHE_DIR, else ~/.cache/fastdiff */
  /* Called while algorithms are timed, with what is done of what is to be done; or NULL. */
  void (*progress)(void* user, size_t done, size_t total);
  void* progress_user;
} fd_engine_options;

/* The engine of a file, or of a file's content in memory, which may go away afterwards. `options`
 * NULL: the defaults. *out is the caller's to free, and NULL where the call fails: a file that is
 * missing, damaged, truncated, of a newer format or no engine file at all is FD_INVALID_ARGUMENT.
 * Reading is safe with files from strangers. */
FD_API fd_status fd_engine_load(const char* path, const fd_engine_options* options,
                                fd_engine** out);
FD_API fd_status fd_engine_load_memory(const void* bytes, size_t size,
                                       const fd_engine_options* options, fd_engine** out);

/* Frees an engine that no call is using any more; NULL is allowed. */
FD_API void fd_engine_free(fd_engine* engine);

/* What an engine is. Pointers belong to the engine and live as long. Text is UTF-8. */
typedef struct fd_info {
  size_t size;                    /* sizeof(fd_info), set by the caller: no more is written */
  const char* name;               /* the model's */
  size_t channels, height, width; /* C, H, W of an image */
  size_t context_width;           /* numbers in a context; 0: the model takes none */
  size_t label_count;             /* named classes, at most context_width */
  const char* const* labels;      /* [label_count] */
  const char* table_name;         /* the sampler's */
  const double* table;            /* [table_rows, 19], a row a model evaluation */
  size_t table_rows;
  double init_scale;     /* x_T = init_scale * normal */
  const char* schedule;  /* JSON, as checkpoints have it */
  int threads;           /* at most so many a call */
  int to_noise;          /* 1: the table leads from an image (x_T) to noise */
  const char* precision; /* "float32" or "bf16" */
  const char* isa;       /* the instruction set that it was planned for, as fd_isa_name() */
} fd_info;

FD_API fd_status fd_engine_info(const fd_engine* engine, fd_info* info);

/* The context of a class, float [context_width]: 1 at its place, 0 elsewhere. "" is the
 * unconditional context, zeros throughout. */
FD_API fd_status fd_engine_context(const fd_engine* engine, const char* label, float* out);

/* How the network will be computed, in lines for people, for `batch` samples at once: at most
 * `capacity` bytes into `text`, cut where that is too few and always ending in a zero byte. *length
 * (or NULL): the whole text's, without the zero. capacity 0 writes nothing, text may be NULL. */
FD_API fd_status fd_engine_describe(const fd_engine* engine, size_t batch, char* text,
                                    size_t capacity, size_t* length);

/* x after a row, for the callback alone and only until it returns. */
typedef struct fd_row fd_row;

typedef struct fd_request {
  size_t size; /* sizeof(fd_request) */
  size_t n;    /* images to draw */

  /* Image i has seeds[i], or seed + i where seeds is NULL. An image depends on its seed and on what
   * is asked of it alone: not on n, its place, the threads or the instruction set, up to rounding
   * in the last two. */
  uint64_t seed;
  const uint64_t* seeds; /* [n], or NULL */

  /* Each of these is given once for all (count 1), for each image (count n) or not (count 0). */
  const float* context; /* [count, context_width]; not given: unconditional */
  size_t context_count;
  /* Classifier-free guidance (Ho & Salimans 2022): m = m_uncond + scale * (m_cond - m_uncond).
   * Not given, or 1 throughout: no guidance, and half the work. Needs a context. */
  const float* guidance; /* [count] */
  size_t guidance_count;
  const float* guidance_rescale; /* [count] in [0, 1], phi of Lin et al. 2024, section 3.4 */
  size_t guidance_rescale_count;
  size_t guided_rows; /* only the first so many rows are guided; 0: all */

  /* Where to start and what to keep; [n, C, H, W] or NULL. */
  const float* x_T;   /* start from this instead of the seeds' noise */
  const float* image; /* in [-1, 1]. Without a mask: start from it, with noise of the first row's
                       * level */
  const float* mask;  /* [n, 1, H, W] in [0, 1]: the image is drawn anew where 1, kept where 0 */
  int from_image;     /* 1: start from the image under a mask too, instead of from plain noise */
  int no_clip;        /* 1: x as the last row leaves it; 0: clipped to [-1, 1] */

  /* Another sampler than the file's own, as Python's `SamplerTable(...).rows`; or NULL. */
  const double* table; /* [table_rows, 19] */
  size_t table_rows;
  double init_scale; /* of this table; 0: 1 */

  /* Called on the calling thread after every row with the rows done, of `rows`; it must return (no
   * longjmp, no exception). Anything but 0 stops the request there, which is no error. All n images
   * then go through a row together, so memory grows with n; without a callback it does not. */
  int (*after_row)(void* user, size_t rows_done, size_t rows, const fd_row* row);
  void* user;
} fd_request;

/* Draws images, float [n, C, H, W], into `out`; *rows_done (or NULL): the rows done, fewer than the
 * table's where the callback stopped it, and then `out` has x as it was. Every wrong count and
 * value is FD_INVALID_ARGUMENT, found before anything is drawn; after any error the content of
 * `out` is not defined. n 0 writes nothing. */
FD_API fd_status fd_sample(const fd_engine* engine, const fd_request* request, float* out,
                           size_t* rows_done);

/* x after the row, [n, C, H, W], mixed for the next one and not clipped. */
FD_API const float* fd_row_x(const fd_row* row);

/* What the row took the clean image for, [n, C, H, W], clamped where the table clamps: a better
 * preview than x. FD_INVALID_ARGUMENT where the table does not say how it follows. */
FD_API fd_status fd_row_x0(const fd_row* row, float* out);

/* Pixels uint8 [n, H, W, C] from images float [n, C, H, W]: round((clip(x, -1, 1) + 1) * 127.5),
 * halves to even; nan is 0. */
FD_API fd_status fd_images_to_u8(const float* images, size_t n, size_t channels, size_t height,
                                 size_t width, uint8_t* out);

#ifdef __cplusplus
}
#endif

#endif /* FASTDIFF_FASTDIFF_H_ */
