// The functions of ops/epilogue.h by their definitions, in float64: what every fast one is tested
// against.
#pragma once

#include <cstddef>

#include "ops/epilogue.h"

namespace fd {

// f(x); nan gives nan.
double unary_reference(Unary function, double x);
// x op y.
double binary_reference(Binary function, double x, double y);
// An operand's value at one element, and what an epilogue makes of x there.
double operand_reference(const Operand& operand, std::ptrdiff_t sample, std::ptrdiff_t row,
                         std::ptrdiff_t pixel, std::ptrdiff_t channel);
double epilogue_reference(const Epilogue& epilogue, double x, std::ptrdiff_t sample,
                          std::ptrdiff_t row, std::ptrdiff_t pixel, std::ptrdiff_t channel);

}  // namespace fd
