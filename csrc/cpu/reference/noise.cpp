// The noise contract written down as plainly as possible: one element at a time, normals in
// float64. Every other backend is tested against this.

#include "cpu/noise.h"

#include "core/philox.h"

namespace fd {
namespace {

PhiloxBlock block_of(const NoiseRow& row, std::size_t element) {
  return noise_block(row.seed, row.step, row.stream,
                     row.first_block + static_cast<std::uint32_t>(element / 4));
}

void normals_of_block(const PhiloxBlock& block, float* z) {
  float u[4];
  for (int i = 0; i < 4; ++i) u[i] = uniform_of_word(block.word[i]);
  box_muller(u[0], u[1], &z[0], &z[1]);
  box_muller(u[2], u[3], &z[2], &z[3]);
}

void words(const NoiseRow& row, std::uint32_t* out) {
  for (std::size_t e = 0; e < row.count; ++e) out[e] = block_of(row, e).word[e % 4];
}

void uniform(const NoiseRow& row, float* out) {
  for (std::size_t e = 0; e < row.count; ++e) {
    out[e] = uniform_of_word(block_of(row, e).word[e % 4]);
  }
}

void normal(const NoiseRow& row, float* out) {
  for (std::size_t e = 0; e < row.count; e += 4) {
    float z[4];
    normals_of_block(block_of(row, e), z);
    for (std::size_t i = 0; i < 4 && e + i < row.count; ++i) out[e + i] = z[i];
  }
}

void normals_of_words(const std::uint32_t* words, std::size_t blocks, float* out) {
  for (std::size_t b = 0; b < blocks; ++b, words += 4, out += 4) {
    normals_of_block({{words[0], words[1], words[2], words[3]}}, out);
  }
}

}  // namespace

void philox_blocks(const std::uint32_t* counters, const std::uint32_t* keys, std::size_t m,
                   std::uint32_t* out) {
  for (std::size_t i = 0; i < m; ++i, counters += 4, keys += 2, out += 4) {
    const PhiloxBlock block =
        philox4x32_10({{counters[0], counters[1], counters[2], counters[3]}}, keys[0], keys[1]);
    for (int w = 0; w < 4; ++w) out[w] = block.word[w];
  }
}

extern const NoiseKernels kNoiseScalar = {words, uniform, normal, normals_of_words};

}  // namespace fd
