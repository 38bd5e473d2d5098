// The convolution kernels of one instruction set, as plain function pointers. The SIMD files
// include this header, so it holds no inline code.
//
// Weights are packed in panels of up to kPanelVectors vectors of output channels; for each step of
// the inner sum a panel holds one element for each of its channels, the next step follows. An
// element is a float, or (bf16) the bfloat16 weights of two adjacent input channels in 32 bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/epilogue.h"
#include "ops/image.h"

namespace fd {

constexpr int kPanelVectors = 2;

struct ConvPixel {
  std::ptrdiff_t sample, y, x;
};

// Where a panel's outputs go, and what is done to them first.
struct ConvTarget {
  Image out;
  const Epilogue* epilogue;      // null: none
  const float* bias;             // the panel's, 0 where the layer has none; padded to full vectors
  std::ptrdiff_t first_channel;  // of the panel
  int channels;                  // of the panel
};

// out[row] = sum over taps and k of a[row][tap][k] * b[tap][k], for one panel.
struct GemmBlock {
  int rows, taps;
  std::ptrdiff_t depth;           // elements a tap
  const void* const* a;           // [rows][taps] pointers to elements
  std::ptrdiff_t a_offset_bytes;  // added to each
  const void* b;
  const ConvPixel* pixels;  // [rows]
  ConvTarget target;
};

struct GemmKernels {
  int lanes;
  void (*gemm)(const GemmBlock& block);
  // bf16 only: `count` floats as bfloat16, 0 up to a multiple of 16. Null for float32.
  void (*round)(const float* from, std::ptrdiff_t count, void* to);
};

// A tile of m x m outputs, of which rows x columns are inside the image.
struct WinogradTile {
  ConvPixel corner;
  int rows, columns;
};

// Some tiles through one panel; points = (m + 2)^2.
struct WinogradBlock {
  int tiles;
  int channels;              // in
  const float* const* from;  // [tiles][points] input pixels: the first channel of each
  void* v;                   // [points][tiles][channels], elements
  std::ptrdiff_t v_point, v_tile;
  const void* u;  // [points][channels][panel], elements
  float* m;       // [points][tiles][panel]
  std::ptrdiff_t m_point;
  const WinogradTile* places;  // [tiles]
  ConvTarget target;
};

struct WinogradSteps {
  void (*input)(const WinogradBlock& block);   // v
  void (*gemm)(const WinogradBlock& block);    // m = v u
  void (*output)(const WinogradBlock& block);  // out, from m
};

struct WinogradKernels {
  int lanes;
  WinogradSteps f2, f4;
};

// out[row] = sum over taps of a[row][tap] * weight[tap], channel by channel.
struct DepthwiseBlock {
  int rows, taps;
  const float* const* a;      // [rows][taps]
  const float* weight;        // [taps][weight_tap]
  std::ptrdiff_t weight_tap;  // channels, padded to full vectors
  const ConvPixel* pixels;    // [rows]
  ConvTarget target;          // its channels are all of the layer's, or a share of them
};

struct DepthwiseKernels {
  int lanes;
  void (*run)(const DepthwiseBlock& block);
};

extern const GemmKernels kGemmPlain;
extern const GemmKernels kGemmAvx2;
extern const GemmKernels kGemmAvx512;
extern const GemmKernels kGemmAvx512Bf16;  // rounds its inputs to bfloat16
extern const WinogradKernels kWinogradPlain;
extern const WinogradKernels kWinogradAvx2;
extern const WinogradKernels kWinogradAvx512;
extern const WinogradKernels kWinogradAvx512Bf16;  // rounds the transformed input to bfloat16
extern const DepthwiseKernels kDepthwisePlain;
extern const DepthwiseKernels kDepthwiseAvx2;
extern const DepthwiseKernels kDepthwiseAvx512;

}  // namespace fd
