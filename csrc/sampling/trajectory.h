// The x of one request on their way through the table's rows: what is computed element by element,
// between one evaluation of the network and the next. Every member of a team calls the same
// functions, each takes a share of the elements, and a barrier stands between one and the next.
#pragma once

#include <cstddef>

#include "core/cpu_features.h"
#include "core/team.h"
#include "cpu/update.h"
#include "sampling/loop.h"

namespace fd {

class Trajectory {
 public:
  Trajectory(const SampleRequest& request, const LoopShape& shape, Isa isa, LoopMemory& memory);

  std::size_t rows() const { return memory_.rows.size(); }
  bool guided(std::size_t k) const { return k < guided_rows_; }
  bool rescaled(std::size_t k) const { return guided(k) && request_.guidance_rescale != nullptr; }

  // Sample s's part of an array of all samples; null of null.
  template <class T>
  T* of_sample(T* array, std::size_t sample) const {
    return array ? array + sample * elements_ : nullptr;
  }
  const float* x(std::size_t k) const { return memory_.x(k); }
  // What the network sees in row k, and where its answers go: with the context and without.
  const float* seen(std::size_t k) const { return scaled(k) ? memory_.scaled() : memory_.x(k); }
  float* m(std::size_t k) const { return memory_.m(k); }
  float* uncond() const { return memory_.uncond(); }

  void start(const Team& team);                        // x_0
  void find_factors(std::size_t k, const Team& team);  // of guidance rescale, from row k's answers
  void update(std::size_t k, const Team& team);        // x_{k+1} from row k's answers
  // After the update, and before the next: what row k took for the image, [n, C, H, W].
  bool has_x0(std::size_t k) const;
  void x0(std::size_t k, float* out) const;

 private:
  bool scaled(std::size_t k) const { return k < rows() && memory_.rows[k].in_scale != 1; }
  template <class Body>
  void share(const Team& team, const Body& body) const;
  Kept kept(std::size_t sample, std::size_t k) const;

  const SampleRequest& request_;
  const Isa isa_;
  const std::size_t elements_, plane_;
  const Depths depths_;
  const std::size_t guided_rows_;
  LoopMemory& memory_;
};

}  // namespace fd
