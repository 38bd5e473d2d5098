// The one-dimensional transforms of Winograd's F(2, 3) and F(4, 3), from the interpolation points p
// (Toom-Cook): row p of B^T has the coefficients of prod_{q != p} (x - q), column p of A^T is
// 1, p, p^2, ...; the point at infinity takes the highest coefficient. cpu/winograd_weights.cpp
// holds G, which divides by prod_{q != p} (p - q).
//
// A 2D transform applies them to the columns, then to the rows. Counts are of vector operations.
//
// Some multiply-adds are written as a product and a sum on purpose: on AMD Zen 4 a store waits for
// the port of the third operand of an fma (8 fma and 4 stores take 14 cycles, 8 mul, 8 add and 4
// stores take 8). With half of them as they are here F4's input transform takes 143 cycles a tile
// and vector; 161 with fma throughout, 172 with none.
#pragma once

namespace fd {
namespace {

// Points 0, 1, -1, infinity; all coefficients are 1 in size.
struct F2 {
  static constexpr int kTile = 2, kPoints = 4, kHalves = 1;

  static void input(const F32 (&d)[4], F32 (&v)[4]) {  // 4 additions
    v[0] = sub(d[0], d[2]);
    v[1] = add(d[1], d[2]);
    v[2] = sub(d[2], d[1]);
    v[3] = sub(d[3], d[1]);
  }
  static void input_half(int, const F32 (&d)[4], F32 (&v)[4]) { input(d, v); }

  static void output(const F32 (&m)[4], F32 (&y)[2]) {  // 4 additions
    y[0] = add(add(m[0], m[1]), m[2]);
    y[1] = add(sub(m[1], m[2]), m[3]);
  }
  static void output_half(int, const F32 (&m)[4], F32 (&y)[2]) { output(m, y); }
};

// Points 0, +-a, +-b, infinity with a = 1 / sqrt(2), b = sqrt(2). The usual +-1, +-2 have an error
// 4 times as large: with a b = 1 the powers in B^T and A^T stay within [1/4, 4].
struct F4 {
  static constexpr int kTile = 4, kPoints = 6, kHalves = 2;
  static constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;

  // Points 0, a, -a: 3 multiply-adds, 1 product, 3 additions.
  static void first_points(const F32 (&d)[6], F32* v) {
    const F32 even = fma(set1(-2.0f), d[2], d[4]);  // d4 - b^2 d2
    const F32 odd = fma(set1(-2.0f), d[1], d[3]);   // d3 - b^2 d1, to be scaled by a
    v[0] = fma(set1(-2.5f), d[2], add(d[0], d[4]));
    const F32 scaled = mul(set1(kA), odd);
    v[1] = add(even, scaled);
    v[2] = sub(even, scaled);
  }
  // Points b, -b, infinity: 1 multiply-add, 3 products, 5 additions.
  static void last_points(const F32 (&d)[6], F32* v) {
    const F32 even = sub(d[4], mul(set1(0.5f), d[2]));  // d4 - a^2 d2
    const F32 odd = sub(d[3], mul(set1(0.5f), d[1]));   // d3 - a^2 d1, to be scaled by b
    const F32 scaled = mul(set1(kB), odd);
    v[0] = add(even, scaled);
    v[1] = sub(even, scaled);
    v[2] = fma(set1(-2.5f), d[3], add(d[1], d[5]));
  }

  static void input(const F32 (&d)[6], F32 (&v)[6]) {
    first_points(d, v);
    last_points(d, v + 3);
  }
  static void input_half(int half, const F32 (&d)[6], F32 (&v)[3]) {
    if (half == 0) {
      first_points(d, v);
    } else {
      last_points(d, v);
    }
  }

  // y[k] = sum over points of p^k m[p]. Half 0 has y[0] and y[2], half 1 has y[1] and y[3]:
  // 4 additions and 2 multiply-adds, 2 additions and 4 multiply-adds.
  static void output_half(int half, const F32 (&m)[6], F32 (&y)[2]) {
    if (half == 0) {
      const F32 a = add(m[1], m[2]), b = add(m[3], m[4]);
      y[0] = add(add(m[0], a), b);
      y[1] = fma(set1(2.0f), b, mul(set1(0.5f), a));
    } else {
      const F32 a = sub(m[1], m[2]), b = sub(m[3], m[4]);
      y[0] = fma(set1(kB), b, mul(set1(kA), a));
      y[1] = fma(set1(2 * kB), b, fma(set1(0.5f * kA), a, m[5]));
    }
  }
  static void output(const F32 (&m)[6], F32 (&y)[4]) {
    F32 even[2], odd[2];
    output_half(0, m, even);
    output_half(1, m, odd);
    y[0] = even[0];
    y[1] = odd[0];
    y[2] = even[1];
    y[3] = odd[1];
  }
};

}  // namespace
}  // namespace fd
