// Ops that only say where elements are, and those that move them when strides cannot say it.

#include "plan/builder.h"
#include "plan/lowerings.h"

namespace fd {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

void lower_concat(Builder& builder, const Node& node) {
  const Tensor out = builder.concat_output(node);
  const int dim = node.dim - 1;
  std::ptrdiff_t start = 0;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    const Tensor part = builder.input(node, i);
    const std::ptrdiff_t size = part.size[at(dim)];
    if (!builder.is_in_place(node.inputs[i], out)) {
      const Tensor to = sliced(out, dim, start, size, 1);
      builder.copy_into(broadcast_to(part, to.size), to, node.path);
    }
    start += size;
  }
  builder.bind(node.output, out);
}

void lower_slice(Builder& builder, const Node& node) {
  const std::ptrdiff_t size = builder.output_size(node)[at(node.dim - 1)];
  builder.bind(node.output,
               sliced(builder.input(node, 0), node.dim - 1, static_cast<std::ptrdiff_t>(node.start),
                      size, static_cast<std::ptrdiff_t>(node.step)));
}

void lower_reshape(Builder& builder, const Node& node) {
  builder.bind(node.output, builder.reshaped_or_copied(builder.input(node, 0),
                                                       builder.output_size(node), node.path));
}

void lower_permute(Builder& builder, const Node& node) {
  if (node.dims[0] != 0) builder.refuse(node, "a permutation that moves the batch");
  std::vector<int> order;
  for (std::size_t d = 1; d < node.dims.size(); ++d) order.push_back(node.dims[d] - 1);
  builder.bind(node.output, permuted(builder.input(node, 0), order));
}

void lower_broadcast(Builder& builder, const Node& node) {
  builder.bind(node.output, broadcast_to(builder.input(node, 0), builder.output_size(node)));
}

// The output's memory, and it seen with other dimensions: row-major sizes `shape` in the order of
// `order`, as pixel shuffles and upsampling are reshapes of permutations.
void move(Builder& builder, const Node& node, const Tensor& from, const Tensor& out,
          const Tensor& to) {
  builder.copy_into(from, to, node.path);
  builder.bind(node.output, out);
}

// Nearest: out(c, y * sy + i, x * sx + j) = in(c, y, x).
void lower_upsample(Builder& builder, const Node& node) {
  const Tensor in = builder.input(node, 0), out = builder.image_output(node);
  const std::ptrdiff_t sy = node.scale[0], sx = node.scale[1];
  const Sizes size{in.size[0], in.size[1], sy, in.size[2], sx};
  const Tensor from{in.place, size, {in.stride[0], in.stride[1], 0, in.stride[2], 0}};
  const Tensor to{
      out.place,
      size,
      {out.stride[0], out.stride[1] * sy, out.stride[1], out.stride[2] * sx, out.stride[2]}};
  move(builder, node, from, out, to);
}

// out(c, y * r + i, x * r + j) = in((c * r + i) * r + j, y, x).
void lower_pixel_shuffle(Builder& builder, const Node& node) {
  const Tensor in = builder.input(node, 0), out = builder.image_output(node);
  const std::ptrdiff_t r = node.factor;
  const Sizes size{out.size[0], r, r, in.size[1], in.size[2]};
  const Tensor from{
      in.place,
      size,
      {in.stride[0] * r * r, in.stride[0] * r, in.stride[0], in.stride[1], in.stride[2]}};
  const Tensor to{
      out.place,
      size,
      {out.stride[0], out.stride[1], out.stride[2], out.stride[1] * r, out.stride[2] * r}};
  move(builder, node, from, out, to);
}

// out((c * r + i) * r + j, y, x) = in(c, y * r + i, x * r + j).
void lower_pixel_unshuffle(Builder& builder, const Node& node) {
  const Tensor in = builder.input(node, 0), out = builder.image_output(node);
  const std::ptrdiff_t r = node.factor;
  const Sizes size{in.size[0], r, r, out.size[1], out.size[2]};
  const Tensor from{in.place,
                    size,
                    {in.stride[0], in.stride[1], in.stride[2], in.stride[1] * r, in.stride[2] * r}};
  const Tensor to{
      out.place,
      size,
      {out.stride[0] * r * r, out.stride[0] * r, out.stride[0], out.stride[1], out.stride[2]}};
  move(builder, node, from, out, to);
}

}  // namespace

const Lowering kLowerConcat = lower_concat;
const Lowering kLowerSlice = lower_slice;
const Lowering kLowerReshape = lower_reshape;
const Lowering kLowerPermute = lower_permute;
const Lowering kLowerBroadcast = lower_broadcast;
const Lowering kLowerUpsample = lower_upsample;
const Lowering kLowerPixelShuffle = lower_pixel_shuffle;
const Lowering kLowerPixelUnshuffle = lower_pixel_unshuffle;

}  // namespace fd
