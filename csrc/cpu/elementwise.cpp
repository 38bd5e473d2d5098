// unary, binary, truncate: rows of a loop nest through the kernels. Rows that are not dense go
// through a buffer on the stack, piece by piece.
#include "cpu/elementwise.h"

#include <cmath>
#include <string>

#include "cpu/dispatch.h"
#include "cpu/elementwise_kernels.h"
#include "cpu/loop_nest.h"

namespace fd {
namespace {

constexpr std::ptrdiff_t kPiece = 512;  // elements; three buffers of them fit in the first cache

// Elements from data on, `stride` apart, as the kernels take them: in place where they are adjacent
// or all the same, else copied to the buffer.
RowOperand fetch(const float* data, std::ptrdiff_t stride, std::size_t count, float* buffer) {
  if (stride == 0 || stride == 1) return {data, static_cast<std::size_t>(stride)};
  for (std::size_t i = 0; i < count; ++i) buffer[i] = data[static_cast<std::ptrdiff_t>(i) * stride];
  return {buffer, 1};
}

// Runs body(out) on the row's output, or on a buffer that is then spread out.
template <class Body>
void write(float* out, std::ptrdiff_t stride, std::size_t count, Body&& body) {
  if (stride == 1) return body(out);
  float buffer[kPiece];
  body(buffer);
  for (std::size_t i = 0; i < count; ++i) out[static_cast<std::ptrdiff_t>(i) * stride] = buffer[i];
}

// function(a row, its output, count) over all rows.
template <class Function>
void map_rows(int samples, const Extent& extent, const ConstView& a, const View& out, Share share,
              Function&& function) {
  const LoopNest nest = loop_nest(samples, extent, extent.rank, out, a);
  for_rows(nest, share, kPiece, [&](const Row& row) {
    float buffer[kPiece];
    RowOperand from = fetch(a.data + row.offset[1], nest.inner_stride(1), row.count, buffer);
    if (from.step == 0) {  // one element for all
      std::fill_n(buffer, row.count, *from.data);
      from.data = buffer;
    }
    write(out.data + row.offset[0], nest.inner_stride(0), row.count,
          [&](float* to) { function(from.data, to, row.count); });
  });
}

void pow_row(RowOperand a, RowOperand b, float* out, std::size_t count) {
  if (b.step == 0 && *b.data == 2.0f) {  // what powers mostly are; pow rounds the same
    for (std::size_t i = 0; i < count; ++i) out[i] = a.data[i * a.step] * a.data[i * a.step];
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = std::pow(a.data[i * a.step], b.data[i * b.step]);
  }
}

}  // namespace

void unary(Unary kind, int samples, const Extent& extent, const ConstView& a, const View& out,
           Share share, Isa isa) {
  const ElementwiseKernels& kernels = FD_KERNELS(isa, kElementwise);
  map_rows(samples, extent, a, out, share, [&](const float* from, float* to, std::size_t count) {
    kernels.unary(kind, from, to, count);
  });
}

void binary(Binary kind, int samples, const Extent& extent, const ConstView& a, const ConstView& b,
            const View& out, Share share, Isa isa) {
  const ElementwiseKernels& kernels = FD_KERNELS(isa, kElementwise);
  const LoopNest nest = loop_nest(samples, extent, extent.rank, out, a, b);
  for_rows(nest, share, kPiece, [&](const Row& row) {
    float buffer[2][kPiece];
    const RowOperand left =
        fetch(a.data + row.offset[1], nest.inner_stride(1), row.count, buffer[0]);
    const RowOperand right =
        fetch(b.data + row.offset[2], nest.inner_stride(2), row.count, buffer[1]);
    write(out.data + row.offset[0], nest.inner_stride(0), row.count, [&](float* to) {
      if (kind == Binary::pow) return pow_row(left, right, to, row.count);
      kernels.binary(kind, left, right, to, row.count);
    });
  });
}

void truncate(int samples, const Extent& extent, const ConstView& a, const View& out, Share share,
              Isa) {
  map_rows(samples, extent, a, out, share, [](const float* from, float* to, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) to[i] = std::trunc(from[i]) + 0.0f;  // no -0
  });
}

}  // namespace fd
