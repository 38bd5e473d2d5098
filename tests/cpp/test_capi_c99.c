/* The header compiles as C99, and a plain C program can use the library. */

#include <fastdiff/fastdiff.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  const uint64_t seeds[3] = {0, 1, 2};
  uint32_t words[3 * 5];
  float normals[3 * 5];
  int failed = 0;
  failed += fd_words(seeds, 3, 0, 0, 5, words, 1) != FD_OK || words[0] != 0x6627e8d5u;
  failed += fd_normal(seeds, 3, 0, 0, 5, normals, 0) != FD_OK;
  failed += fd_normal(seeds, 3, 0, 0, 5, NULL, 0) != FD_INVALID_ARGUMENT;
  failed += strcmp(fd_last_error(), "out: expected a pointer to n * count values, got null") != 0;
  printf("fastdiff %s on %s: %d passed, %d failed\n", fd_version(), fd_isa_name(), 4 - failed,
         failed);
  return failed;
}
