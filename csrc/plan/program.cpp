#include "plan/program.h"

namespace fd {
namespace {

// In the order of the enums.
constexpr const char* kOps[] = {
    "conv2d",        "conv_transpose2d",
    "linear",        "matmul",
    "group_norm",    "layer_norm",
    "unary",         "binary",
    "concat",        "slice",
    "reshape",       "permute",
    "broadcast",     "pool",
    "mean",          "upsample",
    "pixel_shuffle", "pixel_unshuffle",
    "softmax",       "attention",
    "embedding",     "cast",
};
constexpr const char* kUnaries[] = {
    "relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "elu", "exp",
    "log",  "sin",  "cos",       "sqrt", "rsqrt",   "neg",  "abs",
};
constexpr const char* kBinaries[] = {"add", "sub", "mul", "div", "pow"};

static_assert(sizeof kOps / sizeof kOps[0] == static_cast<std::size_t>(Op::cast) + 1);
static_assert(sizeof kUnaries / sizeof kUnaries[0] == kUnaryKinds);
static_assert(sizeof kBinaries / sizeof kBinaries[0] == static_cast<std::size_t>(Binary::pow) + 1);

template <class Kind, std::size_t N>
bool parse(const char* const (&names)[N], const std::string& name, Kind* kind) {
  for (std::size_t k = 0; k < N; ++k) {
    if (name == names[k]) {
      *kind = static_cast<Kind>(k);
      return true;
    }
  }
  return false;
}

}  // namespace

const char* op_name(Op op) { return kOps[static_cast<int>(op)]; }
const char* unary_name(Unary kind) { return kUnaries[static_cast<int>(kind)]; }
const char* binary_name(Binary kind) { return kBinaries[static_cast<int>(kind)]; }

bool parse_op(const std::string& name, Op* op) { return parse(kOps, name, op); }
bool parse_unary(const std::string& name, Unary* kind) { return parse(kUnaries, name, kind); }
bool parse_binary(const std::string& name, Binary* kind) { return parse(kBinaries, name, kind); }

}  // namespace fd
