// Products of bfloat16 pairs, summed in float32: an element is two adjacent input channels.
// vdpbf16ps rounds each of its two additions to nearest even and takes subnormals as 0.
#pragma once

namespace fd {
namespace {

struct Bf16Math {
  using Element = std::uint32_t;
  static constexpr std::ptrdiff_t kChannels = 2;
  using Vector = __m512i;
  static Vector broadcast(const Element* from) {
    return _mm512_set1_epi32(static_cast<int>(*from));
  }
  static Vector load_weights(const Element* from) { return _mm512_loadu_si512(from); }
  // GCC 12's intrinsic copies the sum to another register and back (92 % of the peak, not 95).
  static F32 multiply_add(Vector a, Vector b, F32 c) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
  }
  static void store_input(Element* to, F32 value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
  }
};

}  // namespace
}  // namespace fd
