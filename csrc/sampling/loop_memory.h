// The arrays of one run of the loop; float [n, elements] each. x and m are rings: row k's lie where
// those of a row too old to be looked at were, so that history costs no copies.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/aligned.h"
#include "sampling/stepper.h"
#include "sampling/table.h"

namespace fd {

class LoopMemory {
 public:
  // Room for a request; what was held before is lost, its memory is kept.
  void hold(const TableView& table, std::size_t n, std::size_t elements, bool guided);
  std::size_t bytes() const;  // held

  // x_k: valid, with x_{k-1} ... x_{k-depth}, until x_{k+2} is written. One more than rows look at,
  // since x0 after a row needs the x that it was asked with.
  float* x(std::size_t k) { return array(k % x_arrays_); }
  // m_k, valid with m_{k-1} ... m_{k-depth+1} until m_{k+1} is written.
  float* m(std::size_t k) { return array(x_arrays_ + k % m_arrays_); }
  float* uncond() { return array(x_arrays_ + m_arrays_); }                      // only where guided
  float* scaled() { return array(x_arrays_ + m_arrays_ + (guided_ ? 1 : 0)); }  // where in_scale

  std::vector<RowWeights> rows;  // the table's
  std::vector<float> factors;    // [n], of guidance rescale
  std::vector<Ask> asks;         // [n], [2 n] where guided

 private:
  float* array(std::size_t index) { return arrays_.data() + index * n_ * elements_; }

  std::size_t n_ = 0, elements_ = 0, x_arrays_ = 0, m_arrays_ = 0;
  bool guided_ = false;
  AlignedFloats arrays_;
};

}  // namespace fd
