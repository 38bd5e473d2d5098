#include "plan/program.h"

namespace fd {

const char* op_name(Op op) {
  switch (op) {
    case Op::conv2d:
      return "conv2d";
    case Op::conv_transpose2d:
      return "conv_transpose2d";
    case Op::linear:
      return "linear";
    case Op::matmul:
      return "matmul";
    case Op::group_norm:
      return "group_norm";
    case Op::layer_norm:
      return "layer_norm";
    case Op::unary:
      return "unary";
    case Op::binary:
      return "binary";
    case Op::concat:
      return "concat";
    case Op::slice:
      return "slice";
    case Op::reshape:
      return "reshape";
    case Op::permute:
      return "permute";
    case Op::broadcast:
      return "broadcast";
    case Op::pool:
      return "pool";
    case Op::mean:
      return "mean";
    case Op::upsample:
      return "upsample";
    case Op::pixel_shuffle:
      return "pixel_shuffle";
    case Op::pixel_unshuffle:
      return "pixel_unshuffle";
    case Op::softmax:
      return "softmax";
    case Op::attention:
      return "attention";
    case Op::embedding:
      return "embedding";
    case Op::cast:
      return "cast";
  }
  return "?";
}

}  // namespace fd
