#include "random_program.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "ops/shape_rules.h"
#include "plan/aligned.h"
#include "plan/read_program.h"

namespace fuzz {
namespace {

using fd::Dims;
using fd::Node;
using fd::Op;

constexpr std::size_t kMostNodes = 32;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Zeros after the last byte.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool done() const { return at_ >= size_; }
  int below(int n) { return done() || n < 1 ? 0 : data_[at_++] % n; }
  bool chance(int of_256) { return !done() && below(256) < of_256; }

 private:
  const std::uint8_t* data_;
  std::size_t size_, at_ = 0;
};

class Maker {
 public:
  explicit Maker(Bytes bytes) : bytes_(bytes) {}

  fd::EngineFile make() {
    huge_ = bytes_.chance(8);
    for (std::int64_t& size : file_.sample_shape) size = any_size();
    clamp_elements(&file_.sample_shape[0], 3);
    file_.context_width = bytes_.below(6);
    file_.name = "random";
    file_.x = "x", file_.t = "t", file_.context = "context";
    const std::int64_t* s = file_.sample_shape;
    const int x = add_input("x", {fd::kBatch, s[0], s[1], s[2]});
    add_input("t", {fd::kBatch});
    if (file_.context_width > 0) add_input("context", {fd::kBatch, file_.context_width});
    while (!bytes_.done() && program().nodes.size() < kMostNodes) try_node();
    finish(x);
    file_.table.assign(fd::kTableColumns, 0.0);
    file_.table[1] = file_.table[6] = file_.table[12] = 1;
    file_.table[13] = -std::numeric_limits<double>::infinity();
    file_.table[14] = std::numeric_limits<double>::infinity();
    return std::move(file_);
  }

 private:
  fd::Program& program() { return file_.step; }

  // Sizes around those of vectors, panels and tiles; now and then one without sense.
  std::int64_t any_size() {
    static const std::int64_t kSizes[] = {1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 12, 15, 16, 17, 33};
    static const std::int64_t kHuge[] = {65, 1 << 10, 65535, 1 << 20, 1 << 27, 1 << 28};
    if (huge_ && bytes_.chance(64)) return kHuge[bytes_.below(6)];
    return kSizes[bytes_.below(16)];
  }
  int any_window(int least, int most) {
    if (huge_ && bytes_.chance(16)) return 65536;
    return least + bytes_.below(most - least + 1);
  }

  void clamp_elements(std::int64_t* sizes, std::size_t count) const {
    std::int64_t elements = 1;
    for (std::size_t k = 0; k < count; ++k) {
      sizes[k] = std::max<std::int64_t>(1, std::min(sizes[k], fd::kMaxElements / elements));
      elements *= sizes[k];
    }
  }

  const fd::Value& value(int i) { return program().values[at(i)]; }
  Dims dims(int i) {
    Dims out = value(i).shape;
    if (value(i).batched) out.insert(out.begin(), fd::kBatch);
    return out;
  }

  int add_value(const std::string& name, Dims shape, fd::DType dtype) {
    fd::Value value;
    value.name = name;
    value.dtype = dtype;
    value.batched = fd::is_batched(shape);
    if (value.batched) shape.erase(shape.begin());
    value.shape = shape;
    program().values.push_back(value);
    return static_cast<int>(program().values.size()) - 1;
  }
  int add_input(const char* name, const Dims& shape) {
    const int index = add_value(name, shape, fd::DType::float32);
    program().inputs.push_back(index);
    pool_.push_back(index);
    return index;
  }
  // Multiples of 1/8 from -1 to 1; none where it would be large.
  int constant(const Dims& shape) {
    std::int64_t elements = 1;
    for (const std::int64_t size : shape) {
      if (size < 1 || size > 65536 / elements) fd::fail_argument("constant", "a small one", "more");
      elements *= size;
    }
    auto data = std::make_shared<fd::AlignedFloats>(static_cast<std::size_t>(elements));
    std::uint32_t state = static_cast<std::uint32_t>(bytes_.below(256)) * 2654435761u + 1;
    for (std::int64_t k = 0; k < elements; ++k) {
      state = state * 1664525u + 1013904223u;
      data->data()[k] = static_cast<float>(static_cast<int>(state >> 28) - 8) / 8;
    }
    const int index =
        add_value("c" + std::to_string(program().values.size()), shape, fd::DType::float32);
    program().values.back().constant = data->data();
    file_.owned.push_back(data);
    return index;
  }
  int optional_constant(const Dims& shape) { return bytes_.chance(160) ? constant(shape) : -1; }

  // One of what there is, the newest more often.
  int any() {
    const int count = static_cast<int>(pool_.size());
    const int recent = std::min(count, 4);
    return bytes_.chance(128) ? pool_[at(count - 1 - bytes_.below(recent))]
                              : pool_[at(bytes_.below(count))];
  }
  int any_of_rank(int rank) {
    for (int tries = 0; tries < 6; ++tries) {
      const int i = any();
      if (static_cast<int>(dims(i).size()) == rank) return i;
    }
    for (std::size_t k = pool_.size(); k-- > 0;) {
      if (static_cast<int>(dims(pool_[k]).size()) == rank) return pool_[k];
    }
    fd::fail_argument("value", "one of rank " + std::to_string(rank), "none");
  }

  // A constant that broadcasts to `out`: some dimensions 1, some in front left out.
  int broadcast_constant(const Dims& out) {
    Dims shape(out.begin() + (fd::is_batched(out) ? 1 : 0), out.end());
    for (std::int64_t& size : shape) {
      if (bytes_.chance(80)) size = 1;
    }
    if (bytes_.chance(64) && !shape.empty()) shape.erase(shape.begin());
    while (shape.size() < out.size() && bytes_.chance(64)) shape.insert(shape.begin(), 1);
    return constant(shape);
  }
  int operand_for(const Dims& out) {
    for (int tries = 0; tries < 4; ++tries) {
      const int i = any();
      if (fd::broadcasts_to(dims(i), out) && value(i).dtype == fd::DType::float32) return i;
    }
    return broadcast_constant(out);
  }

  void add_epilogue(Node* node, const Dims& out) {
    while (node->epilogue.size() < 8 && bytes_.chance(96)) {
      fd::NodeEpilogue step;
      const int kind = bytes_.below(3);
      if (kind == 0) {
        step.function = static_cast<fd::Unary>(bytes_.below(fd::kUnaryKinds));
      } else {
        step.kind = kind == 1 ? fd::EpilogueStep::add : fd::EpilogueStep::mul;
        step.input = static_cast<int>(node->inputs.size());
        node->inputs.push_back(operand_for(out));
      }
      node->epilogue.push_back(step);
    }
  }

  void set_window(Node* node, int most) {
    for (int k = 0; k < 2; ++k) {
      node->stride[k] = any_window(1, most);
      node->padding[k] = any_window(0, 3);
      node->dilation[k] = bytes_.chance(64) ? any_window(1, 3) : 1;
    }
    if (bytes_.chance(128)) {  // as most are, and what Winograd takes
      for (int k = 0; k < 2; ++k) node->stride[k] = node->dilation[k] = node->padding[k] = 1;
    }
  }
  static fd::Window window_of(const Node& node) {
    fd::Window window;
    for (int k = 0; k < 2; ++k) {
      window.kernel[k] = node.kernel[k], window.stride[k] = node.stride[k];
      window.padding[k] = node.padding[k], window.dilation[k] = node.dilation[k];
      window.output_padding[k] = node.output_padding[k];
    }
    window.groups = node.groups;
    return window;
  }
  int any_kernel() { return bytes_.chance(128) ? 3 : 1 + bytes_.below(5); }
  // One, all, or some number of groups, which the rules may refuse.
  int any_groups(std::int64_t channels) {
    const int kind = bytes_.below(4);
    return kind < 2 ? 1 : kind == 2 ? static_cast<int>(channels) : 1 + bytes_.below(8);
  }
  int any_dim(const Dims& x) { return 1 + bytes_.below(static_cast<int>(x.size()) - 1); }

  // The node and its output's shape; false or InvalidArgument where what was drawn does not fit.
  bool draw(Node* node, Dims* out, Dims* shape) {
    node->op = static_cast<Op>(bytes_.below(static_cast<int>(Op::cast) + 1));
    switch (node->op) {
      case Op::conv2d:
      case Op::conv_transpose2d: {
        const int x = any_of_rank(4);
        const std::int64_t in = dims(x)[1];
        set_window(node, 3);
        node->groups = any_groups(in);
        const bool transposed = node->op == Op::conv_transpose2d;
        const std::int64_t per_group = bytes_.chance(64) ? 1 : any_size();
        const std::int64_t groups = node->groups;
        if (in % groups != 0) return false;
        const Dims weight = transposed
                                ? Dims{in, per_group, any_kernel(), any_kernel()}
                                : Dims{per_group * groups, in / groups, any_kernel(), any_kernel()};
        if (transposed) {
          for (int& padding : node->output_padding) padding = any_window(0, 2);
        }
        const int bias = optional_constant({per_group * groups});
        node->inputs = {x, constant(weight), bias};
        const Dims bias_dims = {per_group * groups};
        const Dims* given = bias < 0 ? nullptr : &bias_dims;
        *out = transposed ? fd::conv_transpose2d_dims(dims(x), weight, given, window_of(*node))
                          : fd::conv2d_dims(dims(x), weight, given, window_of(*node));
        break;
      }
      case Op::linear: {
        const int x = any();
        const Dims in = dims(x);
        const std::int64_t width = any_size();
        node->inputs = {x, constant({width, in.back()}), optional_constant({width})};
        *out = fd::linear_dims(in, {width, in.back()}, nullptr);
        break;
      }
      case Op::matmul: {
        int a = any(), b = any();
        if (bytes_.chance(128)) {
          const Dims with = dims(a);
          b = constant({with.back(), any_size()});
        } else if (bytes_.chance(64) && dims(b).size() > 1) {
          a = constant({any_size(), dims(b)[dims(b).size() - 2]});
        }
        node->inputs = {a, b};
        *out = fd::matmul_dims(dims(a), dims(b));
        break;
      }
      case Op::group_norm: {
        const int x = any();
        const Dims in = dims(x);
        if (in.size() < 2) return false;
        node->groups = any_groups(in[1]);
        node->eps = bytes_.chance(200) ? 1e-3 : 0;
        node->inputs = {x, optional_constant({in[1]}), optional_constant({in[1]})};
        *out = fd::group_norm_dims(in, nullptr, nullptr, node->groups);
        break;
      }
      case Op::layer_norm: {
        const int x = any();
        const Dims in = dims(x);
        node->normalized_dims = in.size() < 2 ? 1 : any_dim(in);
        node->eps = bytes_.chance(200) ? 1e-3 : 0;
        *out = fd::layer_norm_dims(in, nullptr, nullptr, node->normalized_dims);
        const Dims affine(in.end() - node->normalized_dims, in.end());
        node->inputs = {x, optional_constant(affine), optional_constant(affine)};
        break;
      }
      case Op::unary:
        node->unary = static_cast<fd::Unary>(bytes_.below(fd::kUnaryKinds));
        node->inputs = {any()};
        *out = dims(node->inputs[0]);
        break;
      case Op::binary: {
        node->binary = static_cast<fd::Binary>(bytes_.below(5));
        const int a = any();
        const int b = bytes_.chance(100) ? any() : operand_for(dims(a));
        node->inputs = bytes_.chance(128) ? std::vector<int>{a, b} : std::vector<int>{b, a};
        *out = fd::binary_dims(dims(node->inputs[0]), dims(node->inputs[1]));
        break;
      }
      case Op::concat: {
        const int x = any();
        const Dims in = dims(x);
        if (in.size() < 2) return false;
        node->dim = bytes_.chance(160) ? 1 : any_dim(in);
        node->inputs = {x};
        std::vector<Dims> shapes = {in};
        for (int tries = 0; tries < 5; ++tries) {
          const int other = any();
          Dims same = dims(other);
          if (same.size() != in.size()) continue;
          same[at(node->dim)] = in[at(node->dim)];
          if (same != in) continue;
          node->inputs.push_back(other);
          shapes.push_back(dims(other));
        }
        *out = fd::concat_dims(shapes, node->dim);
        break;
      }
      case Op::slice: {
        const int x = any();
        const Dims in = dims(x);
        if (in.size() < 2) return false;
        node->dim = any_dim(in);
        const int size = static_cast<int>(std::min<std::int64_t>(in[at(node->dim)], 255));
        node->start = bytes_.below(size);
        node->stop = node->start + 1 + bytes_.below(size - static_cast<int>(node->start));
        node->step = bytes_.chance(128) ? 1 : 1 + bytes_.below(3);
        node->inputs = {x};
        *out = fd::slice_dims(in, node->dim, node->start, node->stop, node->step);
        break;
      }
      case Op::reshape: {
        const int x = any();
        Dims to = {fd::kBatch};
        std::int64_t left = fd::count_elements("x", dims(x));
        while (to.size() < 6 && bytes_.chance(140)) {
          const Dims in = dims(x);
          const std::int64_t size =
              bytes_.chance(128) && in.size() > 1 ? in[at(any_dim(in))] : 1 + bytes_.below(8);
          if (left % size != 0) continue;
          to.push_back(size);
          left /= size;
        }
        if (left != 1) to.push_back(left);
        node->inputs = {x};
        *out = *shape = fd::reshape_dims(dims(x), to);
        break;
      }
      case Op::permute: {
        const int x = any();
        const Dims in = dims(x);
        node->dims.resize(in.size());
        for (std::size_t k = 0; k < in.size(); ++k) node->dims[k] = static_cast<int>(k);
        for (std::size_t k = in.size(); k-- > 2;) {
          std::swap(node->dims[k], node->dims[1 + at(bytes_.below(static_cast<int>(k)))]);
        }
        node->inputs = {x};
        *out = fd::permute_dims(in, node->dims);
        break;
      }
      case Op::broadcast: {
        int x = any();
        Dims to = dims(x);
        for (std::size_t k = 1; k < to.size(); ++k) {
          if (to[k] == 1 && bytes_.chance(160)) to[k] = any_size();
        }
        if (bytes_.chance(48)) {
          if (fd::count_elements("x", to) > 65536) return false;
          x = broadcast_constant(to);
        }
        node->inputs = {x};
        *out = *shape = fd::broadcast_dims(dims(x), to);
        break;
      }
      case Op::pool: {
        node->inputs = {any_of_rank(4)};
        node->pool = bytes_.chance(128) ? fd::PoolKind::max : fd::PoolKind::mean;
        for (int k = 0; k < 2; ++k) {
          node->kernel[k] = any_window(1, 5);
          node->stride[k] = any_window(1, 4);
          if (node->pool == fd::PoolKind::max) {
            node->padding[k] = bytes_.below(node->kernel[k] / 2 + 1);
          }
        }
        *out = fd::pool_dims(dims(node->inputs[0]), window_of(*node));
        break;
      }
      case Op::mean: {
        const int x = any();
        const Dims in = dims(x);
        for (std::size_t k = 1; k < in.size(); ++k) {
          if (bytes_.chance(120)) node->dims.push_back(static_cast<int>(k));
        }
        if (bytes_.chance(64)) std::reverse(node->dims.begin(), node->dims.end());
        node->keep = bytes_.chance(128);
        node->inputs = {x};
        *out = fd::mean_dims(in, node->dims, node->keep);
        break;
      }
      case Op::upsample: {
        node->inputs = {any_of_rank(4)};
        for (int& scale : node->scale) scale = any_window(1, 3);
        const std::int64_t scale[2] = {node->scale[0], node->scale[1]};
        *out = fd::upsample_dims(dims(node->inputs[0]), scale);
        break;
      }
      case Op::pixel_shuffle:
        node->inputs = {any_of_rank(4)};
        node->factor = any_window(1, 3);
        *out = fd::pixel_shuffle_dims(dims(node->inputs[0]), node->factor);
        break;
      case Op::pixel_unshuffle:
        node->inputs = {any_of_rank(4)};
        node->factor = any_window(1, 3);
        *out = fd::pixel_unshuffle_dims(dims(node->inputs[0]), node->factor);
        break;
      case Op::softmax: {
        node->inputs = {any()};
        const Dims in = dims(node->inputs[0]);
        if (in.size() < 2) return false;
        node->dim = any_dim(in);
        *out = fd::softmax_dims(in, node->dim);
        break;
      }
      case Op::attention: {
        const int q = any_of_rank(4);
        int k = any_of_rank(4), v = any_of_rank(4);
        if (bytes_.chance(128)) k = q;
        if (bytes_.chance(128)) v = k;
        node->attention_scale = 0.5;
        node->inputs = {q, k, v};
        *out = fd::attention_dims(dims(q), dims(k), dims(v));
        break;
      }
      case Op::embedding: {
        const int rows = 1 + bytes_.below(6);
        const std::int64_t width = any_size();
        node->inputs = {constant({rows, width}), any()};
        *out = fd::embedding_dims({rows, width}, dims(node->inputs[1]));
        break;
      }
      case Op::cast:
        node->dtype = bytes_.chance(160) ? fd::DType::int64 : fd::DType::float32;
        node->inputs = {any()};
        *out = dims(node->inputs[0]);
        break;
    }
    return true;
  }

  // The node as it is, made valid by nothing but the reader's own check; nothing where it refuses.
  int add_node(Node node, const Dims& out, const Dims& shape) {
    fd::count_elements("output", out);
    fd::DType dtype = fd::DType::float32;
    switch (node.op) {
      case Op::cast:
        dtype = node.dtype;
        break;
      case Op::concat:
      case Op::slice:
      case Op::reshape:
      case Op::broadcast:
        dtype = value(node.inputs[0]).dtype;
        break;
      default:
        break;
    }
    if (!fd::is_batched(out)) fd::fail_argument("output", "a batch", "none");
    node.output = add_value("v" + std::to_string(program().values.size()), out, dtype);
    node.path = "net." + std::to_string(program().nodes.size());
    fd::check_node(program(), node, shape);
    const int output = node.output;
    program().nodes.push_back(std::move(node));
    pool_.push_back(output);
    return output;
  }

  void try_node() {
    const std::size_t values = program().values.size(), owned = file_.owned.size();
    try {
      Node node;
      Dims out, shape;
      if (draw(&node, &out, &shape)) {
        const bool takes_epilogue =
            node.op <= Op::binary || node.op == Op::pool;  // check_node.cpp's list
        if (takes_epilogue) add_epilogue(&node, out);
        add_node(node, out, shape);
        return;
      }
    } catch (const fd::InvalidArgument&) {
    }
    program().values.resize(values);
    file_.owned.resize(owned);
  }

  int unary_node(Op op, int x, const Dims& out, const Dims& shape) {
    Node node;
    node.op = op;
    node.inputs = {x};
    if (op == Op::cast) node.dtype = fd::DType::float32;
    return add_node(node, out, shape);
  }

  // x + the last value, reshaped to it or its mean; the step's output.
  void finish(int x) {
    int last = pool_.back();
    const Dims sample = dims(x);
    if (value(last).dtype == fd::DType::int64) last = unary_node(Op::cast, last, dims(last), {});
    const bool fits = fd::count_elements("x", dims(last)) == fd::count_elements("x", sample);
    if (!fits && dims(last).size() > 1) {
      Node node;
      node.op = Op::mean;
      for (std::size_t k = 1; k < dims(last).size(); ++k) node.dims.push_back(static_cast<int>(k));
      node.inputs = {last};
      last = add_node(node, {fd::kBatch}, {});
    }
    const Dims small = {fd::kBatch, 1, 1, 1};
    if (fits && dims(last) != sample) last = unary_node(Op::reshape, last, sample, sample);
    if (!fits) last = unary_node(Op::reshape, last, small, small);
    Node node;
    node.op = Op::binary;
    node.inputs = {x, last};
    program().outputs = {add_node(node, sample, {})};
  }

  Bytes bytes_;
  fd::EngineFile file_;
  std::vector<int> pool_;  // values that nodes may read
  bool huge_ = false;
};

// Pools that alone read a convolution as its own, as fastdiff/program/passes/fuse_pool.py has it.
fd::Program pools_fused(const fd::Program& program) {
  std::vector<int> readers(program.values.size(), 0), maker(program.values.size(), -1);
  for (const Node& node : program.nodes) {
    for (const int input : node.inputs) {
      if (input >= 0) ++readers[at(input)];
    }
  }
  for (const int output : program.outputs) ++readers[at(output)];
  fd::Program fused = program;
  fused.nodes.clear();
  for (const Node& node : program.nodes) {
    const int from = node.op == Op::pool ? maker[at(node.inputs[0])] : -1;
    Node* const conv = from < 0 ? nullptr : &fused.nodes[at(from)];
    bool fits = conv != nullptr && conv->op == Op::conv2d && conv->pool_window[0] == 1 &&
                conv->pool_window[1] == 1 && readers[at(conv->output)] == 1 &&
                node.epilogue.empty();
    for (std::size_t k = 0; fits && k < 2; ++k) {
      fits = node.stride[k] == node.kernel[k] && node.padding[k] == 0 &&
             program.values[at(conv->output)].shape[1 + k] % node.kernel[k] == 0;
    }
    if (fits) {
      conv->pool = node.pool;
      for (int k = 0; k < 2; ++k) conv->pool_window[k] = node.kernel[k];
      conv->output = node.output;
      maker[at(node.output)] = from;
      continue;
    }
    maker[at(node.output)] = static_cast<int>(fused.nodes.size());
    fused.nodes.push_back(node);
  }
  return fused;
}

enum Needs { kRow = 1, kRequest = 2, kStep = 4 };

// The nodes of a part as a program of their own.
fd::Program part_of(const fd::Program& whole, const std::vector<int>& part_of_value, int part) {
  fd::Program program;
  program.name = "part " + std::to_string(part);
  std::map<int, int> local;
  const auto take = [&](int i) {
    if (i < 0) return -1;
    const auto [found, fresh] = local.emplace(i, static_cast<int>(program.values.size()));
    if (fresh) program.values.push_back(whole.values[at(i)]);
    return found->second;
  };
  std::vector<bool> shared(whole.values.size(), false);  // with another part
  for (const int input : whole.inputs) shared[at(input)] = true;
  for (const Node& node : whole.nodes) {
    for (const int input : node.inputs) {
      if (input >= 0 && part_of_value[at(input)] != part_of_value[at(node.output)]) {
        shared[at(input)] = true;
      }
    }
  }
  for (const Node& node : whole.nodes) {
    if (part_of_value[at(node.output)] != part) continue;
    Node copy = node;
    for (int& input : copy.inputs) {
      const bool known = local.count(input) != 0;
      const bool constant = input >= 0 && whole.values[at(input)].constant != nullptr;
      const int old = input;
      input = take(input);
      const bool given = old >= 0 && part_of_value[at(old)] != part;
      if (!known && input >= 0 && !constant && given) program.inputs.push_back(input);
    }
    copy.output = take(node.output);
    program.nodes.push_back(copy);
    const bool last = node.output == whole.outputs[0];
    if (last || shared[at(node.output)]) program.outputs.push_back(copy.output);
  }
  // Names of what nobody else sees may be anything.
  for (const auto& [i, index] : local) {
    if (!shared[at(i)] || whole.values[at(i)].constant != nullptr) {
      program.values[at(index)].name = "own" + std::to_string(index);
    }
  }
  return program;
}

}  // namespace

fd::EngineFile random_file(const std::uint8_t* data, std::size_t size) {
  return Maker(Bytes(data, size)).make();
}

fd::EngineFile split(const fd::EngineFile& file) {
  const fd::Program whole = pools_fused(file.step);
  std::vector<int> needs(whole.values.size(), 0);
  for (const int input : whole.inputs) {
    const std::string& name = whole.values[at(input)].name;
    needs[at(input)] = name == file.x ? kStep : name == file.t ? kRow : kRequest;
  }
  for (const Node& node : whole.nodes) {
    int all = 0;
    for (const int input : node.inputs) {
      if (input >= 0) all |= needs[at(input)];
    }
    // What depends on nothing is made for every row.
    needs[at(node.output)] = all == 0 ? kRow : all >= kStep ? kStep : all;
  }
  for (const int input : whole.inputs) needs[at(input)] = 0;  // of no part
  fd::EngineFile out = file;
  out.row = part_of(whole, needs, kRow);
  out.request = part_of(whole, needs, kRequest);
  out.row_request = part_of(whole, needs, kRow | kRequest);
  out.step = part_of(whole, needs, kStep);
  return out;
}

double cost(const fd::Program& program) {
  const auto elements = [&](int i) {
    double count = 1;
    for (const std::int64_t size : program.values[at(i)].shape) count *= static_cast<double>(size);
    return count;
  };
  double sum = 0;
  for (const Node& node : program.nodes) {
    const double out = elements(node.output);
    double each = 1;  // of an output element
    const double last = [&] {
      const auto& shape = program.values[at(node.inputs[0])].shape;
      return shape.empty() ? 1.0 : static_cast<double>(shape.back());
    }();
    switch (node.op) {
      case Op::conv2d:
        each = elements(node.inputs[1]) /
               static_cast<double>(program.values[at(node.inputs[1])].shape[0]) *
               node.pool_window[0] * node.pool_window[1];
        break;
      case Op::conv_transpose2d:
        each = elements(node.inputs[1]);
        break;
      case Op::linear:
      case Op::matmul:
        each = last;
        break;
      case Op::pool:
        each = static_cast<double>(node.kernel[0]) * node.kernel[1];
        break;
      case Op::attention: {
        const auto& keys = program.values[at(node.inputs[1])].shape;
        each = 4 * static_cast<double>(keys[1]) * (1 + last);
        break;
      }
      default:
        break;
    }
    sum += out * each * (1 + static_cast<double>(node.epilogue.size()));
    for (const int input : node.inputs) sum += input < 0 ? 0 : elements(input);
  }
  return sum;
}

}  // namespace fuzz
