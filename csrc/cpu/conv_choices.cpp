// Which algorithm for which convolution: an estimate of the cycles of each candidate's busiest
// part. Sums at one vector multiply-add a cycle and the cost of Winograd's transforms are as
// measured on AMD Zen 4 in AVX-512; what direct and depthwise convolution pay for pointers is a
// guess. The same estimate serves the other instruction sets, where only the order matters. A plan
// may measure instead.

#include "cpu/conv_algorithms.h"

namespace fd {
namespace {

constexpr double kLanes = 16;
constexpr double kPanelLanes = kPanelVectors * kLanes;
constexpr double kBlockFloats = 1 << 20;  // 4 MiB, more than any core's own cache

// Cycles per tile and vector of channels: transforms of the input and of the output.
struct TileCost {
  double input, output;
};
constexpr TileCost kF2 = {50, 50}, kF4 = {140, 160};

double divided(double n, double by) {
  return static_cast<double>(static_cast<long>((n + by - 1) / by));
}

// Of `rows` rows through panels of `vectors` vectors, per step of the sum: one vector multiply-add
// a cycle, but no less than the latency (4) of each piece of at most 8 rows.
double row_cycles(double rows, double vectors) {
  const double pieces = divided(rows, 8), panels = divided(vectors, kPanelVectors);
  return std::max(rows * vectors, 4 * pieces * panels);
}

// A part's share of the work in units of rows (tiles, pixels) and panels.
struct Part {
  double rows, panels, vectors;
};
Part part_of_work(double rows, double out_channels, int parts, bool split_channels) {
  const double panels = divided(out_channels, kPanelLanes), vectors = divided(out_channels, kLanes);
  if (!split_channels) return {divided(rows, parts), panels, vectors};
  const double mine = divided(panels, parts);
  return {rows, mine, std::min(vectors, mine * kPanelVectors)};
}

double winograd_cycles(const ConvShape& s, int tile, double depth, int samples, int parts,
                       bool split_channels) {
  const TileCost& cost = tile == 2 ? kF2 : kF4;
  const double tiles = divided(s.out_height, tile) * divided(s.out_width, tile) * samples;
  const Part part = part_of_work(tiles, s.out_channels, parts, split_channels);
  const double points = (tile + 2) * (tile + 2);
  const double sums = points * depth * row_cycles(part.rows, part.vectors);
  // Weights come from L3 at 16 bytes a cycle.
  const double weights = points * depth * part.vectors * 64 / 16;
  return std::max(sums, weights) +
         part.rows * (divided(s.in_channels, kLanes) * cost.input + part.vectors * cost.output);
}

double direct_cycles(const ConvShape& s, double depth, int samples, int parts,
                     bool split_channels) {
  const double group_vectors = divided(s.out_channels / s.groups, kLanes);
  double taps = 1.0 * s.kernel_y * s.kernel_x, phases = 1;
  if (s.transposed) {
    phases = 1.0 * s.stride_y * s.stride_x;
    taps = std::max(1.0, taps / phases);
  }
  const double pixels = 1.0 * s.out_height * s.out_width * samples;
  Part part = part_of_work(pixels, s.out_channels, parts, split_channels);
  part.vectors = std::max(
      part.vectors, group_vectors * s.groups * part.panels / divided(s.out_channels, kPanelLanes));
  const double weights = taps * phases * depth * part.vectors * 64 / 16;
  // 10 cycles a tap and row for pointers.
  return std::max(taps * depth * row_cycles(part.rows, part.vectors), weights) +
         part.rows * taps * 10 + part.rows * part.vectors * 10;
}

double cycles(const ConvShape& s, const ConvChoice& choice, int samples, int parts) {
  const double elements = choice.precision == Precision::bf16 ? 0.5 : 1;
  switch (choice.algorithm) {
    case ConvAlgorithm::winograd2:
    case ConvAlgorithm::winograd4:
      return winograd_cycles(s, choice.algorithm == ConvAlgorithm::winograd2 ? 2 : 4,
                             elements * s.in_channels, samples, parts, choice.split_channels);
    case ConvAlgorithm::direct:
      return direct_cycles(s, divided(elements * s.in_channels / s.groups, 1), samples, parts,
                           choice.split_channels);
    case ConvAlgorithm::depthwise:
      return 1.5 * s.kernel_y * s.kernel_x *
             part_of_work(1.0 * s.out_height * s.out_width * samples, s.out_channels, parts,
                          choice.split_channels)
                 .rows *
             divided(s.out_channels, kLanes) / (choice.split_channels ? parts : 1);
  }
  return 0;
}

}  // namespace

std::vector<ConvChoice> conv_choices(const ConvShape& shape, Precision precision, Isa isa,
                                     int samples, int parts, bool exact) {
  static_cast<void>(isa);
  struct Candidate {
    ConvChoice choice;
    double cycles;
  };
  std::vector<Candidate> candidates;
  const auto consider = [&](ConvAlgorithm algorithm, Precision held) {
    const bool winograd =
        algorithm == ConvAlgorithm::winograd2 || algorithm == ConvAlgorithm::winograd4;
    if (exact && winograd) return;
    if (algorithm == ConvAlgorithm::winograd4 && held == Precision::bf16) return;
    if (!conv_algorithm_fits(shape, algorithm, held)) return;
    for (bool split_channels : {false, true}) {
      if (split_channels && (parts < 2 || shape.out_channels <= static_cast<int>(kLanes))) continue;
      ConvChoice choice;
      choice.algorithm = algorithm;
      choice.split_channels = split_channels;
      choice.precision = held;
      candidates.push_back(
          {choice, cycles(shape, choice, std::max(samples, 1), std::max(parts, 1))});
    }
  };
  for (ConvAlgorithm algorithm : {ConvAlgorithm::depthwise, ConvAlgorithm::winograd4,
                                  ConvAlgorithm::winograd2, ConvAlgorithm::direct}) {
    consider(algorithm, Precision::float32);
    if (precision == Precision::bf16) consider(algorithm, Precision::bf16);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; });
  std::vector<ConvChoice> choices;
  for (const Candidate& candidate : candidates) {
    // What is estimated at 3 times the best is not worth packing for a try.
    if (candidate.cycles <= 3 * candidates.front().cycles) choices.push_back(candidate.choice);
  }
  return choices;
}

std::vector<ConvChoice> block_choices(const ConvShape& shape, const ConvChoice& choice, int samples,
                                      int parts) {
  const int tile = choice.algorithm == ConvAlgorithm::winograd4   ? 4
                   : choice.algorithm == ConvAlgorithm::winograd2 ? 2
                                                                  : 1;
  const double units = divided(shape.out_height, tile) * divided(shape.out_width, tile) * samples;
  const double mine = choice.split_channels ? units : divided(units, parts);
  // A block of Winograd's has its transformed input in scratch; others have pointers alone.
  const double floats = tile > 1 ? 1.0 * (tile + 2) * (tile + 2) * shape.in_channels : 0;
  std::vector<ConvChoice> choices{choice};
  const int own = default_block(choice.algorithm);
  for (const int block : {own / 2, 2 * own}) {
    // Blocks differ where the larger of them is not the only one.
    if (mine <= std::min(block, own) || floats * block > kBlockFloats) continue;
    choices.push_back(choice);
    choices.back().block = block;
  }
  return choices;
}

bool coarse_choice(const ConvShape& shape, Isa isa, int samples, int parts, ConvChoice* choice) {
  if (isa != Isa::avx512_bf16) return false;
  if (!conv_algorithm_fits(shape, ConvAlgorithm::winograd4, Precision::bf16)) return false;
  for (const ConvChoice& like :
       conv_choices(shape, Precision::float32, isa, samples, parts, false)) {
    if (like.algorithm != ConvAlgorithm::winograd4) continue;
    *choice = like;
    choice->precision = Precision::bf16;
    return true;
  }
  return false;
}

}  // namespace fd
