#include "cpu/reference/elementwise.h"

#include <cmath>

namespace fd {

double unary_reference(Unary function, double x) {
  switch (function) {
    case Unary::relu:
      return x < 0 ? 0 : x;
    case Unary::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Unary::gelu_tanh: {
      const double inner = std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
      return 0.5 * x * (1 + std::tanh(inner));
    }
    case Unary::silu:
      return x / (1 + std::exp(-x));
    case Unary::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Unary::tanh:
      return std::tanh(x);
    case Unary::elu:
      return x > 0 ? x : std::expm1(x);
    case Unary::exp:
      return std::exp(x);
    case Unary::log:
      return std::log(x);
    case Unary::sin:
      return std::sin(x);
    case Unary::cos:
      return std::cos(x);
    case Unary::sqrt:
      return std::sqrt(x);
    case Unary::rsqrt:
      return 1 / std::sqrt(x);
    case Unary::neg:
      return -x;
    case Unary::abs:
      return std::abs(x);
  }
  return x;
}

double binary_reference(Binary function, double x, double y) {
  switch (function) {
    case Binary::add:
      return x + y;
    case Binary::sub:
      return x - y;
    case Binary::mul:
      return x * y;
    case Binary::div:
      return x / y;
    case Binary::pow:
      return std::pow(x, y);
  }
  return x;
}

double operand_reference(const Operand& operand, std::ptrdiff_t sample, std::ptrdiff_t row,
                         std::ptrdiff_t pixel, std::ptrdiff_t channel) {
  return operand.data[sample * operand.sample + row * operand.row + pixel * operand.pixel +
                      channel * operand.channel];
}

double epilogue_reference(const Epilogue& epilogue, double x, std::ptrdiff_t sample,
                          std::ptrdiff_t row, std::ptrdiff_t pixel, std::ptrdiff_t channel) {
  for (int k = 0; k < epilogue.count; ++k) {
    const EpilogueStep& step = epilogue.steps[k];
    if (step.kind == EpilogueStep::unary) {
      x = unary_reference(step.function, x);
      continue;
    }
    const double operand = operand_reference(step.operand, sample, row, pixel, channel);
    x = step.kind == EpilogueStep::add ? x + operand : x * operand;
  }
  return x;
}

}  // namespace fd
