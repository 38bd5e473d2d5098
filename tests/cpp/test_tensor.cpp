// Views by strides: every view of a numbered array is compared, element by element, with the
// reshape, permutation or slice computed by index arithmetic.

#include <numeric>
#include <vector>

#include "check.h"
#include "plan/tensor.h"

namespace {

using Sizes = std::vector<std::ptrdiff_t>;

fd::Tensor tensor_of(const Sizes& size, const Sizes& stride) {
  fd::Tensor tensor;
  tensor.size = size;
  tensor.stride = stride;
  return tensor;
}

// The memory positions of a tensor's elements in row-major order of its indices.
std::vector<std::ptrdiff_t> positions(const fd::Tensor& tensor) {
  std::vector<std::ptrdiff_t> found;
  Sizes index(tensor.size.size(), 0);
  for (std::ptrdiff_t i = 0; i < tensor.elements(); ++i) {
    std::ptrdiff_t at = tensor.place.offset;
    for (std::size_t d = 0; d < index.size(); ++d) at += index[d] * tensor.stride[d];
    found.push_back(at);
    for (std::size_t d = index.size(); d-- > 0;) {
      if (++index[d] < tensor.size[d]) break;
      index[d] = 0;
    }
  }
  return found;
}

}  // namespace

TEST(a_reshape_keeps_the_order_of_elements_or_is_refused) {
  const std::vector<Sizes> shapes{{24},   {2, 12}, {4, 6},       {2, 3, 4}, {1, 24, 1},
                                  {3, 8}, {6, 4},  {2, 1, 3, 4}, {12, 2},   {1, 2, 2, 2, 3}};
  int views = 0, refused = 0;
  for (const Sizes& from : shapes) {
    for (const Sizes& stride : {fd::row_major(from), fd::channels_last(from)}) {
      const fd::Tensor tensor = tensor_of(from, stride);
      for (const Sizes& to : shapes) {
        fd::Tensor view;
        if (!fd::reshaped(tensor, to, &view)) {
          ++refused;
          CHECK(!tensor.dense());  // a dense one can take any shape
          continue;
        }
        ++views;
        CHECK(positions(view) == positions(tensor));
      }
    }
  }
  CHECK(views > 100);
  CHECK(refused > 20);
}

TEST(channels_last_is_dense_in_some_order_alone) {
  const fd::Tensor tensor = tensor_of({3, 4, 5}, fd::channels_last({3, 4, 5}));
  CHECK(tensor.stride == (Sizes{1, 15, 3}));
  CHECK(!tensor.dense());
  CHECK(tensor.dense_in_some_order());
  CHECK(!fd::sliced(tensor, 0, 0, 2, 1).dense_in_some_order());
  CHECK(!fd::broadcast_to(tensor_of({3, 1, 1}, {1, 1, 1}), {3, 4, 5}).dense_in_some_order());
}

TEST(heads_of_a_fused_projection_are_views) {
  // [tokens, 3 * heads * width] -> slice -> [tokens, heads, width] -> [heads, tokens, width]
  const fd::Tensor qkv = tensor_of({5, 24}, fd::row_major({5, 24}));
  fd::Tensor split;
  CHECK(fd::reshaped(fd::sliced(qkv, 1, 8, 8, 1), {5, 2, 4}, &split));
  const fd::Tensor heads = fd::permuted(split, {1, 0, 2});
  CHECK(heads.size == (Sizes{2, 5, 4}));
  CHECK(heads.stride == (Sizes{4, 24, 1}));
  CHECK_EQUAL(heads.place.offset, 8);
}

TEST(slices_with_steps_and_broadcasts) {
  const fd::Tensor tensor = tensor_of({10}, {1});
  CHECK(positions(fd::sliced(tensor, 0, 1, 3, 4)) == (Sizes{1, 5, 9}));
  const fd::Tensor row = tensor_of({1, 3}, {3, 1});
  CHECK(positions(fd::broadcast_to(row, {2, 2, 3})) == (Sizes{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}));
  CHECK_EQUAL(tensor_of({}, {}).elements(), 1);
}

TEST_MAIN
