#include "ops/shape_rules.h"

#include <algorithm>

#include "core/error.h"

namespace fd {
namespace {

std::string text(std::int64_t number) { return std::to_string(number); }

// x as [B, C, H, W].
void check_image(const Dims& x) {
  if (x.size() != 4 || !is_batched(x)) fail_argument("x", "images [B,C,H,W]", dims_text(x));
}

void check_dims(const char* name, const Dims& dims, const Dims& expected) {
  if (dims != expected) fail_argument(name, dims_text(expected), dims_text(dims));
}

void check_optional(const char* name, const Dims* dims, const Dims& expected) {
  if (dims != nullptr) check_dims(name, *dims, expected);
}

// A dimension that is not the batch.
void check_dim(const Dims& x, std::int64_t dim) {
  const std::int64_t rank = static_cast<std::int64_t>(x.size());
  if (dim < (is_batched(x) ? 1 : 0) || dim >= rank) {
    fail_argument("dim", "a dimension of " + dims_text(x) + " that is not the batch", text(dim));
  }
}

void check_range(const char* name, std::int64_t value, std::int64_t lo, std::int64_t hi) {
  if (value < lo || value > hi) {
    fail_argument(name, "from " + text(lo) + " to " + text(hi), text(value));
  }
}

void check_window(const Window& w) {
  for (int k = 0; k < 2; ++k) {
    check_range("kernel", w.kernel[k], 1, kMaxWindow);
    check_range("stride", w.stride[k], 1, kMaxWindow);
    check_range("padding", w.padding[k], 0, kMaxWindow);
    check_range("padding at the end", w.padding[k] + w.more[k], 0, kMaxWindow);
    check_range("dilation", w.dilation[k], 1, kMaxWindow);
    check_range("output_padding", w.output_padding[k], 0, kMaxWindow);
  }
  check_range("groups", w.groups, 1, kMaxElements);
}

// How many windows fit into `size` and the padding on both sides; 0 where none does.
std::int64_t windows(std::int64_t size, std::int64_t kernel, std::int64_t stride,
                     std::int64_t padding, std::int64_t dilation) {
  const std::int64_t room = size + padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

Dims windowed(const Dims& x, std::int64_t channels, const Window& w) {
  Dims out = {kBatch, channels, 0, 0};
  for (int k = 0; k < 2; ++k) {
    const std::size_t d = 2 + static_cast<std::size_t>(k);
    const std::int64_t padding = 2 * w.padding[k] + w.more[k];
    out[d] = windows(x[d], w.kernel[k], w.stride[k], padding, w.dilation[k]);
    if (out[d] < 1) fail_argument("x", "at least one window in it", dims_text(x));
  }
  return out;
}

// The window of a convolution with this weight, whose groups divide `in` and `out` channels.
Window conv_window(const Dims& weight, const Window& window) {
  if (weight.size() != 4 || is_batched(weight)) {
    fail_argument("weight", "four dimensions", dims_text(weight));
  }
  Window w = window;
  w.kernel[0] = weight[2];
  w.kernel[1] = weight[3];
  check_window(w);
  return w;
}

void check_divides(const char* name, std::int64_t divisor, std::int64_t number) {
  if (number % divisor != 0) fail_argument(name, "a divisor of " + text(number), text(divisor));
}

}  // namespace

bool is_batched(const Dims& dims) { return !dims.empty() && dims[0] == kBatch; }

std::string dims_text(const Dims& dims) {
  std::string out = "[";
  for (std::size_t k = 0; k < dims.size(); ++k) {
    if (k > 0) out += ",";
    out += dims[k] == kBatch ? "B" : text(dims[k]);
  }
  return out + "]";
}

std::int64_t count_elements(const std::string& name, const Dims& dims) {
  const std::size_t batch = is_batched(dims) ? 1 : 0;
  if (dims.size() - batch > kMaxDims) {
    fail_argument(name, "at most " + std::to_string(kMaxDims) + " dimensions beside the batch",
                  std::to_string(dims.size() - batch));
  }
  std::int64_t count = 1;
  for (std::size_t k = batch; k < dims.size(); ++k) {
    if (dims[k] < 1) {
      fail_argument(name, "dimensions of at least 1, the batch first", dims_text(dims));
    }
    if (dims[k] > kMaxElements / count) {
      fail_argument(name, "at most 2^28 elements a sample", dims_text(dims));
    }
    count *= dims[k];
  }
  return count;
}

// out = floor((size + 2 padding + more - dilation (kernel - 1) - 1) / stride) + 1
Dims conv2d_dims(const Dims& x, const Dims& weight, const Dims* bias, const Window& window) {
  check_image(x);
  const Window w = conv_window(weight, window);
  check_divides("groups", w.groups, x[1]);
  check_divides("groups", w.groups, weight[0]);
  check_dims("weight", weight, {weight[0], x[1] / w.groups, weight[2], weight[3]});
  check_optional("bias", bias, {weight[0]});
  return windowed(x, weight[0], w);
}

// out = (size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1
Dims conv_transpose2d_dims(const Dims& x, const Dims& weight, const Dims* bias,
                           const Window& window) {
  check_image(x);
  const Window w = conv_window(weight, window);
  check_divides("groups", w.groups, x[1]);
  check_dims("weight", weight, {x[1], weight[1], weight[2], weight[3]});
  check_range("weight's output channels", weight[1], 1, kMaxElements / w.groups);
  const std::int64_t channels = weight[1] * w.groups;
  check_optional("bias", bias, {channels});
  Dims out = {kBatch, channels, 0, 0};
  for (int k = 0; k < 2; ++k) {
    const std::size_t d = 2 + static_cast<std::size_t>(k);
    check_range("output_padding", w.output_padding[k], 0, std::max(w.stride[k], w.dilation[k]) - 1);
    out[d] = (x[d] - 1) * w.stride[k] - 2 * w.padding[k] + w.dilation[k] * (w.kernel[k] - 1) +
             w.output_padding[k] + 1;
    if (out[d] < 1) fail_argument("padding", "one that leaves an output", text(w.padding[k]));
  }
  return out;
}

Dims linear_dims(const Dims& x, const Dims& weight, const Dims* bias) {
  if (x.size() < 2) fail_argument("x", "at least two dimensions", dims_text(x));
  if (weight.size() != 2 || is_batched(weight)) {
    fail_argument("weight", "two dimensions", dims_text(weight));
  }
  check_dims("weight", weight, {weight[0], x.back()});
  check_optional("bias", bias, {weight[0]});
  Dims out = x;
  out.back() = weight[0];
  return out;
}

Dims matmul_dims(const Dims& a, const Dims& b) {
  if (a.size() < 2) fail_argument("a", "at least two dimensions", dims_text(a));
  if (b.size() < 2) fail_argument("b", "at least two dimensions", dims_text(b));
  const std::int64_t inner = a.back();
  // A product that sums over the batch, or has it in its last dimension, is none of a sample's.
  if (b[b.size() - 2] != inner || inner == kBatch || b.back() == kBatch) {
    fail_argument("b", "rows as the columns of a, " + dims_text(a), dims_text(b));
  }
  Dims out = binary_dims(Dims(a.begin(), a.end() - 2), Dims(b.begin(), b.end() - 2));
  out.push_back(a[a.size() - 2]);
  out.push_back(b.back());
  if (std::count(out.begin() + 1, out.end(), kBatch) != 0) {
    fail_argument("a", "the batch as a first dimension of the product", dims_text(out));
  }
  return out;
}

Dims group_norm_dims(const Dims& x, const Dims* gamma, const Dims* beta, std::int64_t groups) {
  if (x.size() < 2 || !is_batched(x)) fail_argument("x", "[B,C,...]", dims_text(x));
  check_range("groups", groups, 1, x[1]);
  check_divides("groups", groups, x[1]);
  check_optional("gamma", gamma, {x[1]});
  check_optional("beta", beta, {x[1]});
  return x;
}

Dims layer_norm_dims(const Dims& x, const Dims* gamma, const Dims* beta, std::int64_t last) {
  const std::int64_t rank = static_cast<std::int64_t>(x.size());
  if (last < 1 || last > rank - (is_batched(x) ? 1 : 0)) {
    fail_argument("dims", "a number of last dimensions of " + dims_text(x), text(last));
  }
  const Dims normalized(x.end() - last, x.end());
  check_optional("gamma", gamma, normalized);
  check_optional("beta", beta, normalized);
  return x;
}

Dims binary_dims(const Dims& a, const Dims& b) {
  const Dims& longer = a.size() >= b.size() ? a : b;
  const Dims& shorter = a.size() >= b.size() ? b : a;
  const std::size_t ahead = longer.size() - shorter.size();
  Dims out = longer;
  for (std::size_t k = ahead; k < out.size(); ++k) {
    const std::int64_t other = shorter[k - ahead];
    if (out[k] == 1) {
      out[k] = other;
    } else if (other != 1 && other != out[k]) {
      fail_argument("b", "a shape that broadcasts with " + dims_text(a), dims_text(b));
    }
  }
  if (!out.empty() && std::count(out.begin() + 1, out.end(), kBatch) != 0) {
    fail_argument("b", "the same place for the batch as in " + dims_text(a), dims_text(b));
  }
  return out;
}

Dims concat_dims(const std::vector<Dims>& inputs, std::int64_t dim) {
  if (inputs.empty()) fail_argument("inputs", "at least one", "none");
  check_dim(inputs[0], dim);
  const std::size_t d = static_cast<std::size_t>(dim);
  Dims out = inputs[0];
  out[d] = 0;
  for (const Dims& x : inputs) {
    Dims same = x;
    if (same.size() == out.size()) same[d] = inputs[0][d];
    if (same != inputs[0]) {
      fail_argument("inputs", dims_text(inputs[0]) + " but for dimension " + text(dim),
                    dims_text(x));
    }
    out[d] += x[d];
  }
  return out;
}

Dims slice_dims(const Dims& x, std::int64_t dim, std::int64_t start, std::int64_t stop,
                std::int64_t step) {
  check_dim(x, dim);
  const std::size_t d = static_cast<std::size_t>(dim);
  check_range("start", start, 0, x[d] - 1);
  check_range("stop", stop, start + 1, x[d]);
  check_range("step", step, 1, kMaxElements);
  Dims out = x;
  out[d] = (stop - start + step - 1) / step;
  return out;
}

Dims reshape_dims(const Dims& x, const Dims& shape) {
  if (is_batched(x) != is_batched(shape) ||
      count_elements("x", x) != count_elements("shape", shape)) {
    fail_argument("shape", "as many elements a sample as " + dims_text(x), dims_text(shape));
  }
  return shape;
}

Dims permute_dims(const Dims& x, const std::vector<int>& dims) {
  Dims out;
  std::vector<bool> seen(x.size(), false);
  for (const int dim : dims) {
    const std::size_t d = static_cast<std::size_t>(dim);
    if (dim < 0 || d >= x.size() || seen[d]) break;
    seen[d] = true;
    out.push_back(x[d]);
  }
  if (out.size() != x.size() || dims.size() != x.size() || is_batched(x) != is_batched(out)) {
    fail_argument("dims", "every dimension of " + dims_text(x) + " once, the batch first",
                  "others");
  }
  return out;
}

bool broadcasts_to(const Dims& x, const Dims& shape) {
  if (x.size() > shape.size()) return false;
  const std::size_t ahead = shape.size() - x.size();
  for (std::size_t k = 0; k < x.size(); ++k) {
    if (x[k] != 1 && x[k] != shape[ahead + k]) return false;
  }
  return true;
}

Dims broadcast_dims(const Dims& x, const Dims& shape) {
  if (!broadcasts_to(x, shape)) {
    fail_argument("shape", "one that " + dims_text(x) + " broadcasts to", dims_text(shape));
  }
  return shape;
}

Dims pool_dims(const Dims& x, const Window& window) {
  check_image(x);
  check_window(window);
  for (int k = 0; k < 2; ++k) {
    // More than half a kernel, and a window could lie in the padding alone.
    check_range("padding", window.padding[k], 0, window.kernel[k] / 2);
  }
  return windowed(x, x[1], window);
}

Dims tiled_pool_dims(const Dims& x, const int window[2]) {
  if (window[0] == 1 && window[1] == 1) return x;
  check_image(x);
  count_elements("what is pooled", x);  // no value of a program's: nobody else has counted it
  Dims out = x;
  for (std::size_t k = 0; k < 2; ++k) {
    check_range("pool", window[k], 1, kMaxWindow);
    check_divides("pool", window[k], x[2 + k]);
    out[2 + k] /= window[k];
  }
  return out;
}

Dims mean_dims(const Dims& x, const std::vector<int>& dims, bool keep) {
  if (dims.empty()) fail_argument("dims", "at least one dimension", "none");
  std::vector<bool> reduced(x.size(), false);
  for (const int dim : dims) {
    check_dim(x, dim);
    const std::size_t d = static_cast<std::size_t>(dim);
    if (reduced[d]) fail_argument("dims", "every dimension once", text(dim) + " twice");
    reduced[d] = true;
  }
  Dims out;
  for (std::size_t k = 0; k < x.size(); ++k) {
    if (!reduced[k]) {
      out.push_back(x[k]);
    } else if (keep) {
      out.push_back(1);
    }
  }
  return out;
}

Dims upsample_dims(const Dims& x, const std::int64_t scale[2]) {
  check_image(x);
  check_range("scale", scale[0], 1, kMaxWindow);
  check_range("scale", scale[1], 1, kMaxWindow);
  return {kBatch, x[1], x[2] * scale[0], x[3] * scale[1]};
}

Dims pixel_shuffle_dims(const Dims& x, std::int64_t factor) {
  check_image(x);
  check_range("factor", factor, 1, kMaxWindow);
  if (x[1] % (factor * factor) != 0) {
    fail_argument("factor", "one whose square divides " + text(x[1]), text(factor));
  }
  return {kBatch, x[1] / (factor * factor), x[2] * factor, x[3] * factor};
}

Dims pixel_unshuffle_dims(const Dims& x, std::int64_t factor) {
  check_image(x);
  check_range("factor", factor, 1, kMaxWindow);
  check_divides("factor", factor, x[2]);
  check_divides("factor", factor, x[3]);
  return {kBatch, x[1] * factor * factor, x[2] / factor, x[3] / factor};
}

Dims softmax_dims(const Dims& x, std::int64_t dim) {
  check_dim(x, dim);
  return x;
}

Dims attention_dims(const Dims& q, const Dims& k, const Dims& v) {
  if (q.size() != 4 || !is_batched(q)) fail_argument("q", "[B,heads,N,D]", dims_text(q));
  if (k.size() != 4) fail_argument("k", "[B,heads,N,D]", dims_text(k));
  if (v.size() != 4) fail_argument("v", "[B,heads,N,D]", dims_text(v));
  check_dims("k", k, {kBatch, q[1], k[2], q[3]});
  check_dims("v", v, {kBatch, q[1], k[2], v[3]});
  return {kBatch, q[1], q[2], v[3]};
}

Dims embedding_dims(const Dims& table, const Dims& index) {
  if (table.size() != 2 || is_batched(table)) {
    fail_argument("table", "two dimensions", dims_text(table));
  }
  Dims out = index;
  out.push_back(table[1]);
  return out;
}

}  // namespace fd
