// Convolutions, transposed ones and linear layers (a 1x1 convolution of a 1 x N image): weights
// packed once for one algorithm and instruction set, then run from many threads.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "core/cpu_features.h"
#include "ops/conv_shape.h"
#include "ops/epilogue.h"
#include "ops/image.h"

namespace fd {

enum class Precision : int { float32 = 0, bf16 = 1 };

// How a convolution is computed. Names are part of what `describe` prints and the tuning cache
// holds.
enum class ConvAlgorithm : int {
  direct,     // indirect GEMM over taps: any kernel, stride, dilation, groups, transposed
  winograd2,  // F(2x2, 3x3): 3x3, stride 1, dilation 1, one group
  winograd4,  // F(4x4, 3x3), points +-1/sqrt(2), +-sqrt(2)
  depthwise,  // groups == in_channels == out_channels
};

const char* conv_algorithm_name(ConvAlgorithm algorithm);

inline bool is_pooled(const ConvShape& shape) { return shape.pool_y > 1 || shape.pool_x > 1; }

// What can be chosen for one convolution. Every field is a choice of speed; results differ by
// rounding between algorithms, and not at all between tiles and splits.
struct ConvChoice {
  ConvAlgorithm algorithm = ConvAlgorithm::direct;
  int block = 0;  // tiles (Winograd) or pixels (others) worked on at a time; 0: the algorithm's own
  bool split_channels = false;  // parts share out output channels rather than tiles or pixels
  Precision precision = Precision::float32;
};

// One call: `samples` images, or a share of the work on them. `out`, what the pool makes where the
// shape has one; without it `out` may be the same memory as an add operand of the epilogue, with
// the same strides; it overlaps nothing else.
struct ConvCall {
  int samples = 1;
  ConstImage in;
  Image out;
  const Epilogue* epilogue = nullptr;  // null: none
  bool split_channels = false;         // see ConvChoice
  int block = 0;                       // see ConvChoice
  Share share;
  float* scratch = nullptr;  // Conv::scratch_floats(), this thread's own, 64-byte aligned
};

class Conv {
 public:
  // `weight` as torch has it: [out, in / groups, ky, kx], or [in, out / groups, ky, kx] where
  // transposed. `bias` [out] or null. Both are copied (packed). InvalidArgument where the algorithm
  // cannot do the shape, or the precision is not of this isa.
  static std::unique_ptr<Conv> make(const ConvShape& shape, ConvAlgorithm algorithm,
                                    Precision precision, Isa isa, const float* weight,
                                    const float* bias);
  virtual ~Conv() = default;

  virtual std::size_t scratch_floats(int samples, int block) const = 0;
  virtual void run(const ConvCall& call) const = 0;
  virtual std::size_t weight_bytes() const = 0;  // packed
};

// The algorithms that can do this shape here, the heuristic's first for that many samples and
// parts; `exact` leaves out those that trade digits for speed (Winograd). With bf16 those in
// float32 are among them; F(4x4) in bf16 is not.
std::vector<ConvChoice> conv_choices(const ConvShape& shape, Precision precision, Isa isa,
                                     int samples, int parts, bool exact);

// `choice` with other numbers of tiles or pixels at a time: as it is, which is by the algorithm's
// own number, then by half and by twice that, as far as a part has so many and their scratch stays
// in cache. All make the same bits.
std::vector<ConvChoice> block_choices(const ConvShape& shape, const ConvChoice& choice, int samples,
                                      int parts);

// Whether a convolution can be F(4x4) in bf16, for who has room for an error some three times that
// of F(2x2), and the choice that it then is.
bool coarse_choice(const ConvShape& shape, Isa isa, int samples, int parts, ConvChoice* choice);

}  // namespace fd
