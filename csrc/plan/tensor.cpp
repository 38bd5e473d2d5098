#include "plan/tensor.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace fd {

std::ptrdiff_t Tensor::elements() const {
  return std::accumulate(size.begin(), size.end(), std::ptrdiff_t{1}, std::multiplies<>());
}

bool Tensor::dense_from(int first) const {
  std::ptrdiff_t expected = 1;
  for (int d = rank() - 1; d >= first; --d) {
    const auto k = static_cast<std::size_t>(d);
    if (size[k] != 1 && stride[k] != expected) return false;
    expected *= size[k];
  }
  return true;
}

bool Tensor::dense_in_some_order() const {
  std::vector<std::pair<std::ptrdiff_t, std::ptrdiff_t>> dims;  // (stride, size)
  for (std::size_t d = 0; d < size.size(); ++d) {
    if (size[d] != 1) dims.emplace_back(stride[d], size[d]);
  }
  std::sort(dims.begin(), dims.end());
  std::ptrdiff_t expected = 1;
  for (const auto& [step, count] : dims) {
    if (step != expected) return false;
    expected *= count;
  }
  return true;
}

Extent Tensor::extent() const {
  if (rank() > kMaxRank) {
    fail_argument("program", "values of at most " + std::to_string(kMaxRank) + " dimensions",
                  std::to_string(rank()));
  }
  Extent extent;
  extent.rank = rank();
  std::copy(size.begin(), size.end(), extent.size);
  return extent;
}

std::vector<std::ptrdiff_t> row_major(const std::vector<std::ptrdiff_t>& size) {
  std::vector<std::ptrdiff_t> stride(size.size());
  std::ptrdiff_t step = 1;
  for (std::size_t d = size.size(); d-- > 0;) {
    stride[d] = step;
    step *= size[d];
  }
  return stride;
}

std::vector<std::ptrdiff_t> channels_last(const std::vector<std::ptrdiff_t>& size) {
  std::vector<std::ptrdiff_t> stride = row_major(size);
  if (size.empty()) return stride;
  for (std::size_t d = 1; d < size.size(); ++d) stride[d] *= size[0];
  stride[0] = 1;
  return stride;
}

bool reshaped(const Tensor& tensor, const std::vector<std::ptrdiff_t>& size, Tensor* view) {
  // Old dimensions, joined where they lie so that a run over both is one run.
  std::vector<std::ptrdiff_t> old_size, old_stride;
  for (std::size_t d = 0; d < tensor.size.size(); ++d) {
    if (tensor.size[d] == 1) continue;
    if (!old_size.empty() && old_stride.back() == tensor.stride[d] * tensor.size[d]) {
      old_size.back() *= tensor.size[d];
      old_stride.back() = tensor.stride[d];
    } else {
      old_size.push_back(tensor.size[d]);
      old_stride.push_back(tensor.stride[d]);
    }
  }
  // Each new dimension must fit into what is left of one joined dimension, from the last on.
  std::vector<std::ptrdiff_t> stride(size.size(), 0);
  std::size_t at = old_size.size();
  std::ptrdiff_t left = 1, step = 0;
  for (std::size_t d = size.size(); d-- > 0;) {
    if (size[d] == 1) continue;
    if (left == 1) {
      if (at == 0) return false;
      --at;
      left = old_size[at];
      step = old_stride[at];
    }
    if (left % size[d] != 0) return false;
    stride[d] = step;
    step *= size[d];
    left /= size[d];
  }
  if (left != 1 || at != 0) return false;
  view->place = tensor.place;
  view->size = size;
  view->stride = stride;
  return true;
}

Tensor permuted(const Tensor& tensor, const std::vector<int>& order) {
  Tensor view{tensor.place, {}, {}};
  for (int d : order) {
    view.size.push_back(tensor.size[static_cast<std::size_t>(d)]);
    view.stride.push_back(tensor.stride[static_cast<std::size_t>(d)]);
  }
  return view;
}

Tensor sliced(const Tensor& tensor, int dim, std::ptrdiff_t start, std::ptrdiff_t size,
              std::ptrdiff_t step) {
  Tensor view = tensor;
  const auto d = static_cast<std::size_t>(dim);
  view.place.offset += start * tensor.stride[d];
  view.size[d] = size;
  view.stride[d] = tensor.stride[d] * step;
  return view;
}

Tensor broadcast_to(const Tensor& tensor, const std::vector<std::ptrdiff_t>& size) {
  Tensor view{tensor.place, size, std::vector<std::ptrdiff_t>(size.size(), 0)};
  const std::size_t more = size.size() - tensor.size.size();
  for (std::size_t d = 0; d < tensor.size.size(); ++d) {
    if (tensor.size[d] != 1) view.stride[d + more] = tensor.stride[d];
  }
  return view;
}

}  // namespace fd
