// The lowerings of all ops, by family. A new op: a line here, one in lowerings.cpp, and its
// function.
#pragma once

#include "plan/builder.h"

namespace fd {

extern const Lowering kLowerConv, kLowerLinear;
extern const Lowering kLowerNorm;
extern const Lowering kLowerUnary, kLowerBinary, kLowerCast;
extern const Lowering kLowerConcat, kLowerSlice, kLowerReshape, kLowerPermute, kLowerBroadcast;
extern const Lowering kLowerUpsample, kLowerPixelShuffle, kLowerPixelUnshuffle;
extern const Lowering kLowerPool, kLowerMean, kLowerEmbedding;
extern const Lowering kLowerAttention, kLowerSoftmax, kLowerMatmul;

}  // namespace fd
