/* Draws eight images with an engine file and writes them side by side as a PPM picture:
 *
 *   embed_c sprites16.fdiff out.ppm
 *
 * All of fastdiff that it needs is <fastdiff/fastdiff.h> and libfastdiff. */
#include <fastdiff/fastdiff.h>
#include <stdio.h>
#include <stdlib.h>

enum { IMAGES = 8 };

/* Called after every row of the sampler. Returning 1 would stop here; fd_row_x0 would give a
 * preview. */
static int show_progress(void* user, size_t rows_done, size_t rows, const fd_row* row) {
  (void)user;
  (void)row;
  fprintf(stderr, "\rrow %zu of %zu%s", rows_done, rows, rows_done == rows ? "\n" : "");
  return 0;
}

/* Image i shows class i; a model without named classes draws whatever it likes. */
static fd_status fill_contexts(const fd_engine* engine, const fd_info* info, float* contexts) {
  for (size_t i = 0; i < IMAGES; ++i) {
    const char* label = info->label_count == 0 ? "" : info->labels[i % info->label_count];
    const fd_status status = fd_engine_context(engine, label, contexts + i * info->context_width);
    if (status != FD_OK) return status;
  }
  return FD_OK;
}

static int write_ppm(const char* path, const unsigned char* pixels, const fd_info* info) {
  FILE* file = fopen(path, "wb");
  if (file == NULL) return 0;
  fprintf(file, "P6\n%zu %zu\n255\n", IMAGES * info->width, info->height);
  for (size_t y = 0; y < info->height; ++y) {
    for (size_t x = 0; x < IMAGES * info->width; ++x) {
      const size_t image = x / info->width, column = x % info->width;
      const unsigned char* pixel =
          pixels + ((image * info->height + y) * info->width + column) * info->channels;
      for (size_t c = 0; c < 3; ++c) fputc(pixel[info->channels == 3 ? c : 0], file);
    }
  }
  return fclose(file) == 0;
}

/* Everything between loading and freeing; 0 where it went well. */
static int draw(const fd_engine* engine, const char* path) {
  fd_info info = {.size = sizeof info};
  if (fd_engine_info(engine, &info) != FD_OK) return 1;
  printf("%s: %zu x %zu x %zu, %zu rows, fastdiff %s on %s\n", info.name, info.channels,
         info.height, info.width, info.table_rows, fd_version(), info.isa);

  const size_t values = IMAGES * info.channels * info.height * info.width;
  float* images = malloc(values * sizeof *images);
  unsigned char* pixels = malloc(values);
  float* contexts = calloc(IMAGES * info.context_width + 1, sizeof *contexts);
  const float guidance = 2.0f;
  fd_request request = {.size = sizeof request, .n = IMAGES, .seed = 0};
  request.after_row = show_progress;
  int failed = images == NULL || pixels == NULL || contexts == NULL;
  if (!failed && info.label_count != 0) {
    failed = fill_contexts(engine, &info, contexts) != FD_OK;
    request.context = contexts;
    request.context_count = IMAGES;
    request.guidance = &guidance;
    request.guidance_count = 1;
  }
  failed = failed || fd_sample(engine, &request, images, NULL) != FD_OK;
  failed = failed ||
           fd_images_to_u8(images, IMAGES, info.channels, info.height, info.width, pixels) != FD_OK;
  if (!failed && !write_ppm(path, pixels, &info)) {
    perror(path);
    failed = 1;
  }
  free(contexts);
  free(pixels);
  free(images);
  return failed;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s ENGINE.fdiff OUT.ppm\n", argv[0]);
    return 2;
  }
  fd_engine* engine = NULL;
  int failed = fd_engine_load(argv[1], NULL, &engine) != FD_OK || draw(engine, argv[2]);
  if (failed) fprintf(stderr, "failed: %s\n", fd_last_error());
  fd_engine_free(engine);
  return failed;
}
