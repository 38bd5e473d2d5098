#include "cpu/reference/matmul.h"

#include "cpu/reference/row_major.h"

namespace fd {

template <class Real>
std::vector<Real> matmul_reference(int samples, const Extent& extent, std::ptrdiff_t inner,
                                   const ConstView& a, const ConstView& b) {
  const std::ptrdiff_t m = extent.size[extent.rank - 2], n = extent.size[extent.rank - 1];
  Extent a_extent = extent, b_extent = extent;
  a_extent.size[extent.rank - 1] = inner;
  b_extent.size[extent.rank - 2] = inner;
  std::vector<Real> out;
  for (int s = 0; s < samples; ++s) {
    for (std::ptrdiff_t e = 0; e < count_of(extent); ++e) {
      const std::ptrdiff_t row = e / n, batch = row / m, column = e % n;
      Real sum = 0;
      for (std::ptrdiff_t k = 0; k < inner; ++k) {
        sum += Real{element(a, a_extent, s, row * inner + k)} *
               Real{element(b, b_extent, s, (batch * inner + k) * n + column)};
      }
      out.push_back(sum);
    }
  }
  return out;
}

template std::vector<double> matmul_reference(int, const Extent&, std::ptrdiff_t, const ConstView&,
                                              const ConstView&);
template std::vector<float> matmul_reference(int, const Extent&, std::ptrdiff_t, const ConstView&,
                                             const ConstView&);

}  // namespace fd
