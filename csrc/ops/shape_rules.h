// The shape of every op's output from the shapes of its inputs, as torch has it. InvalidArgument
// names the input or attribute that does not fit.
//
// Shapes hold all dimensions; the batch is kBatch, equal to itself alone and only ever first. All
// other dimensions are from 1 to kMaxElements, attributes as check_window and each rule say: no sum
// or product in here can then overflow.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fd {

using Dims = std::vector<std::int64_t>;

constexpr std::int64_t kBatch = -1;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 28;  // of a value, a sample: 1 GiB
constexpr std::size_t kMaxDims = 6;                           // beside the batch
constexpr std::int64_t kMaxWindow = 65536;  // kernels, strides, paddings, dilations, scales

bool is_batched(const Dims& dims);
std::string dims_text(const Dims& dims);  // [B,3,16,16]

// Elements a sample; InvalidArgument naming `name` where a dimension is below 1, the batch is not
// first, or there are more than kMaxDims dimensions or kMaxElements elements.
std::int64_t count_elements(const std::string& name, const Dims& dims);

// Whether x has `shape` once it is spread out, as NumPy does it.
bool broadcasts_to(const Dims& x, const Dims& shape);

// Of a convolution or pool; every pair is y, x.
struct Window {
  std::int64_t kernel[2] = {1, 1};  // pools; a convolution's is its weight's
  std::int64_t stride[2] = {1, 1}, padding[2] = {0, 0}, output_padding[2] = {0, 0};
  std::int64_t dilation[2] = {1, 1};
  std::int64_t groups = 1;
  std::int64_t more[2] = {0, 0};  // padding at the end beyond that at the beginning
};

// Null for a bias, gamma or beta that is absent.
Dims conv2d_dims(const Dims& x, const Dims& weight, const Dims* bias, const Window& window);
Dims conv_transpose2d_dims(const Dims& x, const Dims& weight, const Dims* bias,
                           const Window& window);
Dims linear_dims(const Dims& x, const Dims& weight, const Dims* bias);
Dims matmul_dims(const Dims& a, const Dims& b);
Dims group_norm_dims(const Dims& x, const Dims* gamma, const Dims* beta, std::int64_t groups);
Dims layer_norm_dims(const Dims& x, const Dims* gamma, const Dims* beta, std::int64_t last);
Dims binary_dims(const Dims& a, const Dims& b);  // NumPy's broadcasting
Dims concat_dims(const std::vector<Dims>& inputs, std::int64_t dim);
Dims slice_dims(const Dims& x, std::int64_t dim, std::int64_t start, std::int64_t stop,
                std::int64_t step);
Dims reshape_dims(const Dims& x, const Dims& shape);
Dims permute_dims(const Dims& x, const std::vector<int>& dims);
Dims broadcast_dims(const Dims& x, const Dims& shape);
Dims pool_dims(const Dims& x, const Window& window);
// Of x, made by a convolution, in windows of the pool behind it, which divide x; {1, 1}: x.
Dims tiled_pool_dims(const Dims& x, const int window[2]);
Dims mean_dims(const Dims& x, const std::vector<int>& dims, bool keep);
Dims upsample_dims(const Dims& x, const std::int64_t scale[2]);
Dims pixel_shuffle_dims(const Dims& x, std::int64_t factor);
Dims pixel_unshuffle_dims(const Dims& x, std::int64_t factor);
Dims softmax_dims(const Dims& x, std::int64_t dim);
Dims attention_dims(const Dims& q, const Dims& k, const Dims& v);
Dims embedding_dims(const Dims& table, const Dims& index);

}  // namespace fd
