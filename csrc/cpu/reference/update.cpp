// The sampler table's contract, written down as plainly as possible: one element, float64, the
// sentences of fastdiff/samplers/reference.py in their order.

#include "cpu/update.h"

#include <cmath>

namespace fd {

double reference_x0(const double* row, double x, double m) {
  const double x0 = row[kColumnX0FromX] * x + row[kColumnX0FromM] * m;
  return std::fmin(std::fmax(x0, row[kColumnX0Lo]), row[kColumnX0Hi]);
}

double reference_update(const double* row, const double* x, double* m, double z) {
  const double x0 = reference_x0(row, x[0], m[0]);
  if (row[kColumnClampM] != 0) m[0] = (x0 - row[kColumnX0FromX] * x[0]) / row[kColumnX0FromM];
  double next = row[kColumnNoise] * z;
  if (row[kColumnX0] != 0) next += row[kColumnX0] * x0;  // elsewhere it may be infinite
  for (int back = 0; back < kHistory; ++back) {
    next += row[kColumnX + back] * x[back] + row[kColumnM + back] * m[back];
  }
  return next;
}

}  // namespace fd
