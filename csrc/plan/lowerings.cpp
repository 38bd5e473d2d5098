#include "plan/lowerings.h"

namespace fd {

Lowering lowering_of(Op op) {
  switch (op) {
    case Op::conv2d:
    case Op::conv_transpose2d:
      return kLowerConv;
    case Op::linear:
      return kLowerLinear;
    case Op::matmul:
      return kLowerMatmul;
    case Op::group_norm:
    case Op::layer_norm:
      return kLowerNorm;
    case Op::unary:
      return kLowerUnary;
    case Op::binary:
      return kLowerBinary;
    case Op::concat:
      return kLowerConcat;
    case Op::slice:
      return kLowerSlice;
    case Op::reshape:
      return kLowerReshape;
    case Op::permute:
      return kLowerPermute;
    case Op::broadcast:
      return kLowerBroadcast;
    case Op::pool:
      return kLowerPool;
    case Op::mean:
      return kLowerMean;
    case Op::upsample:
      return kLowerUpsample;
    case Op::pixel_shuffle:
      return kLowerPixelShuffle;
    case Op::pixel_unshuffle:
      return kLowerPixelUnshuffle;
    case Op::softmax:
      return kLowerSoftmax;
    case Op::attention:
      return kLowerAttention;
    case Op::embedding:
      return kLowerEmbedding;
    case Op::cast:
      return kLowerCast;
  }
  return nullptr;  // every op is above
}

}  // namespace fd
