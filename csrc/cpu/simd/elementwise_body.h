// Rows of elementwise kernels (cpu/elementwise_kernels.h). Included by elementwise_*.cpp after
// their vec_*.h; rules as in noise_body.h. The function is chosen once a row, so that its constants
// stay in registers and nothing but the row goes through memory.
#pragma once

#include "cpu/elementwise_kernels.h"
#include "cpu/simd/vector_math.h"

namespace fd {
namespace {

template <F32 (*function)(F32)>
void unary_row(const float* a, float* out, std::size_t count) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, function(load(a + i)));
  if (i < count) store_partial(out + i, function(load_partial(a + i, count - i)), count - i);
}

void unary_kernel(Unary kind, const float* a, float* out, std::size_t count) {
  switch (kind) {
    case Unary::relu:
      return unary_row<relu>(a, out, count);
    case Unary::gelu:
      return unary_row<gelu>(a, out, count);
    case Unary::gelu_tanh:
      return unary_row<gelu_tanh>(a, out, count);
    case Unary::silu:
      return unary_row<silu>(a, out, count);
    case Unary::sigmoid:
      return unary_row<sigmoid>(a, out, count);
    case Unary::tanh:
      return unary_row<tanh>(a, out, count);
    case Unary::elu:
      return unary_row<elu>(a, out, count);
    case Unary::exp:
      return unary_row<exp>(a, out, count);
    case Unary::log:
      return unary_row<log>(a, out, count);
    case Unary::sin:
      return unary_row<sin>(a, out, count);
    case Unary::cos:
      return unary_row<cos>(a, out, count);
    case Unary::sqrt:
      return unary_row<sqrt>(a, out, count);
    case Unary::rsqrt:
      return unary_row<rsqrt>(a, out, count);
    case Unary::neg:
      return unary_row<neg>(a, out, count);
    case Unary::abs:
      return unary_row<abs>(a, out, count);
  }
}

// Each operand in one of two forms: a vector of the row, or the same element throughout.
struct Adjacent {
  const float* data;
  explicit Adjacent(const float* from) : data(from) {}
  F32 at(std::size_t i) const { return load(data + i); }
  F32 partial(std::size_t i, std::size_t lanes) const { return load_partial(data + i, lanes); }
};
struct Repeated {
  F32 value;
  explicit Repeated(const float* from) : value(set1(*from)) {}
  F32 at(std::size_t) const { return value; }
  F32 partial(std::size_t, std::size_t) const { return value; }
};

template <F32 (*function)(F32, F32), class A, class B>
void binary_loop(A a, B b, float* out, std::size_t count) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, function(a.at(i), b.at(i)));
  if (i < count) {
    const std::size_t lanes = count - i;
    store_partial(out + i, function(a.partial(i, lanes), b.partial(i, lanes)), lanes);
  }
}

template <F32 (*function)(F32, F32)>
void binary_row(RowOperand a, RowOperand b, float* out, std::size_t count) {
  if (count == 0) return;
  if (a.step == 0) {
    if (b.step == 0) return binary_loop<function>(Repeated(a.data), Repeated(b.data), out, count);
    return binary_loop<function>(Repeated(a.data), Adjacent(b.data), out, count);
  }
  if (b.step == 0) return binary_loop<function>(Adjacent(a.data), Repeated(b.data), out, count);
  return binary_loop<function>(Adjacent(a.data), Adjacent(b.data), out, count);
}

void binary_kernel(Binary kind, RowOperand a, RowOperand b, float* out, std::size_t count) {
  switch (kind) {
    case Binary::add:
      return binary_row<add>(a, b, out, count);
    case Binary::sub:
      return binary_row<sub>(a, b, out, count);
    case Binary::mul:
      return binary_row<mul>(a, b, out, count);
    case Binary::div:
      return binary_row<div>(a, b, out, count);
    case Binary::pow:
      return;
  }
}

constexpr ElementwiseKernels kKernels = {unary_kernel, binary_kernel};

}  // namespace
}  // namespace fd
