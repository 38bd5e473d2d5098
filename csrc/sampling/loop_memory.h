// The arrays of one run of the loop, allocated at once and 64-byte aligned; float [n, elements]
// each. x and m are rings: row k's lie where those of a row too old to be looked at were, so that
// history costs no copies.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "sampling/stepper.h"
#include "sampling/table.h"

namespace fd {

class LoopMemory {
 public:
  LoopMemory(const TableView& table, std::size_t n, std::size_t elements, bool guided);

  static std::size_t bytes(const TableView& table, std::size_t n, std::size_t elements,
                           bool guided);

  // x_k: valid, with x_{k-1} ... x_{k-depth}, until x_{k+2} is written. One more than rows look at,
  // since x0 after a row needs the x that it was asked with.
  float* x(std::size_t k) { return array(k % x_arrays_); }
  // m_k, valid with m_{k-1} ... m_{k-depth+1} until m_{k+1} is written.
  float* m(std::size_t k) { return array(x_arrays_ + k % m_arrays_); }
  float* uncond() { return array(x_arrays_ + m_arrays_); }                      // only where guided
  float* scaled() { return array(x_arrays_ + m_arrays_ + (guided_ ? 1 : 0)); }  // where in_scale
  std::size_t elements() const { return elements_; }

  std::vector<float> factors;  // [n], of guidance rescale
  std::vector<Ask> asks;       // [n], [2 n] where guided

 private:
  struct Free {
    void operator()(float* memory) const;
  };

  float* array(std::size_t index) { return memory_.get() + index * n_ * elements_; }

  const std::size_t n_, elements_, x_arrays_, m_arrays_;
  const bool guided_;
  std::unique_ptr<float, Free> memory_;
};

}  // namespace fd
