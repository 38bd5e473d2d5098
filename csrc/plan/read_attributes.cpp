// The attributes of every op, as fastdiff/program/ir.py's OPS lists them: each there, none more.
#include <cmath>

#include "ops/shape_rules.h"
#include "plan/read_program.h"

namespace fd {
namespace {

void read_pair(const JsonField& pair, std::int64_t lo, int out[2]) {
  pair.array(2);
  for (std::size_t k = 0; k < 2; ++k) {
    out[k] = static_cast<int>(pair.item(k).integer(lo, kMaxWindow));
  }
}

int read_dim(const JsonField& dim) {
  return static_cast<int>(dim.integer(0, static_cast<std::int64_t>(kMaxDims)));
}

std::vector<int> read_dims(const JsonField& dims) {
  std::vector<int> out;
  for (std::size_t k = 0; k < dims.array().size(); ++k) out.push_back(read_dim(dims.item(k)));
  return out;
}

int read_groups(const JsonField& groups) {
  return static_cast<int>(groups.integer(1, kMaxElements));
}

double read_eps(const JsonField& eps) {
  const double value = eps.finite();
  // As a float32 too: that is what norms add.
  if (value < 0 || !std::isfinite(static_cast<float>(value))) eps.fail("a small number from 0");
  return value;
}

std::vector<std::int64_t> read_shape(const JsonField& shape) {
  std::vector<std::int64_t> out;
  for (std::size_t k = 0; k < shape.array().size(); ++k) {
    out.push_back(shape.item(k).integer(kBatch, kMaxElements));
  }
  return out;
}

PoolKind read_pool_kind(const JsonField& kind) {
  if (kind.text() == "max") return PoolKind::max;
  if (kind.text() != "mean") kind.fail("max or mean");
  return PoolKind::mean;
}

}  // namespace

void read_attributes(const JsonField& a, Node* node, std::vector<std::int64_t>* shape) {
  switch (node->op) {
    case Op::conv2d:
      a.check_keys({"stride", "padding", "dilation", "groups"}, {"padding_end", "pool"});
      read_pair(a["stride"], 1, node->stride);
      read_pair(a["padding"], 0, node->padding);
      if (a.has("padding_end")) {
        read_pair(a["padding_end"], 0, node->more);
        for (int k = 0; k < 2; ++k) node->more[k] -= node->padding[k];
      }
      read_pair(a["dilation"], 1, node->dilation);
      node->groups = read_groups(a["groups"]);
      if (a.has("pool")) {
        node->pool = read_pool_kind(a["pool"].array(2).item(0));
        read_pair(a["pool"].item(1), 1, node->pool_window);
      }
      return;
    case Op::conv_transpose2d:
      a.check_keys({"stride", "padding", "output_padding", "dilation", "groups"});
      read_pair(a["stride"], 1, node->stride);
      read_pair(a["padding"], 0, node->padding);
      read_pair(a["output_padding"], 0, node->output_padding);
      read_pair(a["dilation"], 1, node->dilation);
      node->groups = read_groups(a["groups"]);
      return;
    case Op::group_norm:
      a.check_keys({"groups", "eps"});
      node->groups = read_groups(a["groups"]);
      node->eps = read_eps(a["eps"]);
      return;
    case Op::layer_norm:
      a.check_keys({"dims", "eps"});
      node->normalized_dims = static_cast<int>(a["dims"].integer(1, kMaxDims));
      node->eps = read_eps(a["eps"]);
      return;
    case Op::unary:
      a.check_keys({"kind"});
      if (!parse_unary(a["kind"].text(), &node->unary)) a["kind"].fail("a function");
      return;
    case Op::binary:
      a.check_keys({"kind"});
      if (!parse_binary(a["kind"].text(), &node->binary)) {
        a["kind"].fail("add, sub, mul, div or pow");
      }
      return;
    case Op::pool:
      a.check_keys({"kind", "kernel", "stride", "padding"});
      node->pool = read_pool_kind(a["kind"]);
      read_pair(a["kernel"], 1, node->kernel);
      read_pair(a["stride"], 1, node->stride);
      read_pair(a["padding"], 0, node->padding);
      if (node->pool == PoolKind::mean && (node->padding[0] != 0 || node->padding[1] != 0)) {
        a["padding"].fail("[0,0] of a mean");
      }
      return;
    case Op::concat:
    case Op::softmax:
      a.check_keys({"dim"});
      node->dim = read_dim(a["dim"]);
      return;
    case Op::slice:
      a.check_keys({"dim", "start", "stop", "step"});
      node->dim = read_dim(a["dim"]);
      node->start = a["start"].integer(0, kMaxElements);
      node->stop = a["stop"].integer(0, kMaxElements);
      node->step = a["step"].integer(1, kMaxElements);
      return;
    case Op::reshape:
    case Op::broadcast:
      a.check_keys({"shape"});
      *shape = read_shape(a["shape"]);
      return;
    case Op::permute:
      a.check_keys({"dims"});
      node->dims = read_dims(a["dims"]);
      return;
    case Op::mean:
      a.check_keys({"dims", "keep"});
      node->dims = read_dims(a["dims"]);
      node->keep = a["keep"].boolean();
      return;
    case Op::upsample:
      a.check_keys({"scale"});
      read_pair(a["scale"], 1, node->scale);
      return;
    case Op::pixel_shuffle:
    case Op::pixel_unshuffle:
      a.check_keys({"factor"});
      node->factor = static_cast<int>(a["factor"].integer(1, kMaxWindow));
      return;
    case Op::attention:
      a.check_keys({"scale"});
      node->attention_scale = a["scale"].finite();
      if (!std::isfinite(static_cast<float>(node->attention_scale))) a["scale"].fail("a float32");
      return;
    case Op::cast: {
      a.check_keys({"dtype"});
      const std::string& dtype = a["dtype"].text();
      if (dtype != "float32" && dtype != "int64") a["dtype"].fail("float32 or int64");
      node->dtype = dtype == "int64" ? DType::int64 : DType::float32;
      return;
    }
    case Op::linear:
    case Op::matmul:
    case Op::embedding:
      a.check_keys({});
      return;
  }
}

}  // namespace fd
