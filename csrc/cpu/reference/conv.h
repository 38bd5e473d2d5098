// Convolution by its definition, in float64: what the fast ones are tested against.
#pragma once

#include <vector>

#include "ops/conv_shape.h"
#include "ops/epilogue.h"
#include "ops/image.h"

namespace fd {

// out[s, y, x, o], dense. Weights as Conv::make takes them; bias or null; epilogue or null.
std::vector<double> conv_reference(const ConvShape& shape, int samples, const ConstImage& in,
                                   const float* weight, const float* bias,
                                   const Epilogue* epilogue);

}  // namespace fd
