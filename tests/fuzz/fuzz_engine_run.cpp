// A fuzz target for planner and kernels: bytes become a valid program (random_program.h), or are an
// engine file already; it is planned, and run where that takes milliseconds. Beside the sanitizers,
// which see every float outside of an array:
// - the plan's answer is, to the bit, that of the same program with every value an output: where
//   nothing is done in place and no two values share memory, arenas cannot be wrong;
// - each node's answer is about that of the node alone, planned by itself;
// - the engine's answer, with the nodes in parts by what they depend on, is about the plan's.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "check_pixels.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "plan/aligned.h"
#include "plan/plan.h"
#include "random_program.h"
#include "sampling/engine.h"

namespace {

using Arrays = std::vector<std::vector<float>>;

constexpr double kMostCost = 3e5;  // some ms under sanitizers
constexpr int kSamples = 3, kCapacity = 4;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "broken promise: %s\n", what.c_str());
  std::abort();
}

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Numbers around zero, the same for the same place.
std::vector<float> numbers(std::size_t count, std::uint32_t state) {
  std::vector<float> out(count);
  for (float& number : out) {
    state = state * 1664525u + 1013904223u;
    number = static_cast<float>(static_cast<int>(state >> 16) - 32768) / 16384.0f;
  }
  return out;
}

// How a program is run: drawn from a byte, so that all of it is met.
struct How {
  int threads = 1;
  bool exact = true;
  fd::Precision precision = fd::Precision::float32;

  explicit How(int byte)
      : threads(byte % 16 == 0 ? 2 : 1),
        exact(byte / 16 % 2 == 0),
        precision(byte / 32 % 4 == 0 && fd::active_isa() >= fd::Isa::avx512_bf16
                      ? fd::Precision::bf16
                      : fd::Precision::float32) {}

  fd::PlanOptions plan() const {
    fd::PlanOptions options;
    options.isa = fd::active_isa();
    options.exact = exact;
    options.precision = precision;
    return options;
  }
  fd::EngineOptions engine() const {
    fd::EngineOptions options;
    options.threads = threads;
    options.autotune = false;
    options.exact = exact;
    options.precision = precision;
    return options;
  }
};

// A plan's outputs, [samples, floats] each. Memory starts as nan: what is read before it is written
// shows.
Arrays run(const fd::Program& program, const How& how, int samples, const Arrays& inputs) {
  fd::Plan plan(program, how.plan());
  const fd::Regime regime = fd::Regime::of(kCapacity, false);
  plan.pack(regime);
  fd::AlignedFloats arena(plan.arena_floats(kCapacity)), scratch(plan.scratch_floats(kCapacity));
  std::fill_n(arena.data(), arena.size(), std::nanf(""));
  std::fill_n(scratch.data(), scratch.size(), std::nanf(""));
  std::vector<fd::Bound> in, out;
  for (std::size_t i = 0; i < plan.input_count(); ++i) {
    in.push_back({const_cast<float*>(inputs[i].data()), plan.input_floats(i)});
  }
  Arrays outputs;
  for (std::size_t i = 0; i < plan.output_count(); ++i) {
    outputs.emplace_back(at(samples) * static_cast<std::size_t>(plan.output_floats(i)));
  }
  for (std::size_t i = 0; i < plan.output_count(); ++i) {
    out.push_back({outputs[i].data(), plan.output_floats(i)});
  }
  fd::Team alone = fd::Team::alone();
  try {
    plan.run(samples, regime, in.data(), out.data(), arena.data(), kCapacity, scratch.data(),
             alone);
  } catch (const fd::InvalidArgument& error) {
    fail(std::string("what was planned cannot be run, ") + error.what());
  }
  return outputs;
}

// What the program is, for who looks into a failure: FD_FUZZ_PRINT=1.
void print(const fd::Program& program) {
  const auto name = [&](int i) {
    if (i < 0) return std::string("none");
    const fd::Value& value = program.values[at(i)];
    std::string text = value.name + (value.batched ? "[B" : "[");
    for (const std::int64_t size : value.shape) text += " " + std::to_string(size);
    return text + "]";
  };
  for (const fd::Node& node : program.nodes) {
    std::string line = name(node.output) + " = " + fd::op_name(node.op);
    if (node.op == fd::Op::unary) line += std::string(" ") + fd::unary_name(node.unary);
    if (node.op == fd::Op::binary) line += std::string(" ") + fd::binary_name(node.binary);
    for (const int input : node.inputs) line += " " + name(input);
    for (const fd::NodeEpilogue& step : node.epilogue) {
      line += step.kind == fd::EpilogueStep::unary
                  ? std::string(" ") + fd::unary_name(step.function)
              : step.kind == fd::EpilogueStep::add ? " add"
                                                   : " mul";
    }
    if (node.pool_window[0] * node.pool_window[1] > 1) {
      line += " pool " + std::to_string(node.pool_window[0]) + "x" +
              std::to_string(node.pool_window[1]);
    }
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) {
      return false;
    }
  }
  return a.size() == b.size();
}

float largest(const std::vector<float>& values) {
  float most = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) return HUGE_VALF;
    most = std::max(most, std::abs(value));
  }
  return most;
}

// Fails where they are not within a thousandth of the largest; but for numbers that have left the
// range of the sensible.
void check_about_the_same(const std::vector<float>& a, const std::vector<float>& b,
                          const std::string& what) {
  if (a.size() != b.size()) fail(what + ": another size");
  const float most = largest(a);
  if (!(std::max(most, largest(b)) < 1e4f)) return;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::abs(a[i] - b[i]) <= 1e-3f * std::max(1.0f, most)) continue;
    fail(what + ": " + std::to_string(a[i]) + " is not " + std::to_string(b[i]) + " at " +
         std::to_string(i) + " of " + std::to_string(a.size()));
  }
}

// Whether what a node makes of slightly different numbers may be far apart.
bool is_steep(const fd::Node& node) {
  const auto steep = [](fd::Unary kind) {
    return kind == fd::Unary::log || kind == fd::Unary::exp || kind == fd::Unary::sqrt ||
           kind == fd::Unary::rsqrt;
  };
  for (const fd::NodeEpilogue& step : node.epilogue) {
    if (step.kind == fd::EpilogueStep::unary && steep(step.function)) return true;
  }
  switch (node.op) {
    case fd::Op::unary:
      return steep(node.unary);
    case fd::Op::binary:
      return node.binary == fd::Binary::div || node.binary == fd::Binary::pow;
    case fd::Op::group_norm:
    case fd::Op::layer_norm:
      return true;
    case fd::Op::cast:
    case fd::Op::embedding:
      return true;
    default:
      return false;
  }
}

// Node k by itself, with its inputs' values.
void check_node_alone(const fd::Program& program, const How& how, std::size_t k,
                      const Arrays& values) {
  const fd::Node& node = program.nodes[k];
  fd::Program alone;
  alone.values = program.values;
  alone.nodes = {node};
  alone.outputs = {node.output};
  Arrays inputs;
  bool sensible = true;
  for (const int input : node.inputs) {
    if (input < 0 || program.values[at(input)].constant != nullptr ||
        std::count(alone.inputs.begin(), alone.inputs.end(), input) != 0) {
      continue;
    }
    alone.inputs.push_back(input);
    inputs.push_back(values[at(input)]);
    sensible = sensible && largest(inputs.back()) < 1e3f;
  }
  const Arrays outputs = run(alone, how, kSamples, inputs);
  // A norm of what is all the same divides rounding errors by each other, eps being 0.
  const bool norm = node.op == fd::Op::group_norm || node.op == fd::Op::layer_norm;
  if (!sensible || (norm && node.eps == 0)) return;
  if (!node.epilogue.empty() && is_steep(node)) return;
  check_about_the_same(
      outputs[0], values[at(node.output)],
      std::string(fd::op_name(node.op)) + " at " + node.path + ", alone and in its program");
}

void check_engine(const fd::EngineFile& file, const How& how, std::size_t n, const Arrays& inputs,
                  const std::vector<float>* expected) {
  const auto engine = fd::Engine::make(file, how.engine());
  if (engine->describe(1).empty() || engine->describe(7).empty()) fail("no description");
  std::vector<float> m(n * engine->shape().elements());
  const float* context = file.context_width > 0 ? inputs[2].data() : nullptr;
  engine->predict(n, inputs[0].data(), inputs[1].data(), context, m.data());
  if (expected == nullptr) return;
  const std::vector<float> first(expected->begin(),
                                 expected->begin() + static_cast<std::ptrdiff_t>(m.size()));
  check_about_the_same(m, first, "the engine's answer for " + std::to_string(n));
}

// x, times and contexts.
Arrays inputs_of(const fd::EngineFile& file) {
  const std::int64_t* s = file.sample_shape;
  Arrays inputs = {numbers(at(kSamples) * static_cast<std::size_t>(s[0] * s[1] * s[2]), 1),
                   {1, 499, 0.5f},
                   numbers(at(kSamples) * static_cast<std::size_t>(file.context_width), 2)};
  return inputs;
}

double cost_of(const fd::EngineFile& file) {
  double sum = 1;
  for (int k = 0; k < 3; ++k) sum *= static_cast<double>(file.sample_shape[k]);
  for (const fd::Program* part : {&file.row, &file.request, &file.row_request, &file.step}) {
    sum += fuzz::cost(*part);
  }
  return sum;
}

void plan_only(const fd::EngineFile& file, const How& how) {
  fd::Engine::make(file, how.engine())->describe(2);
}

void check_random(const fd::EngineFile& file, const How& how) {
  const fd::EngineFile parts = fuzz::split(file);
  if (std::getenv("FD_FUZZ_PRINT") != nullptr) {
    print(file.step);
    std::fprintf(stderr, "in parts, the step:\n");
    print(parts.step);
  }
  if (cost_of(file) > kMostCost) {
    plan_only(file, how);
    plan_only(parts, how);
    return;
  }
  const fd::Program& program = file.step;
  const Arrays inputs = inputs_of(file);
  fd::Program open = program;  // every value an output
  open.outputs.clear();
  for (const fd::Node& node : open.nodes) open.outputs.push_back(node.output);
  const Arrays outputs = run(open, how, kSamples, inputs);
  Arrays values(program.values.size());
  for (std::size_t i = 0; i < program.inputs.size(); ++i) {
    values[at(program.inputs[i])] = inputs[i];
  }
  bool steep = false;
  for (std::size_t k = 0; k < program.nodes.size(); ++k) {
    values[at(program.nodes[k].output)] = outputs[k];
    steep = steep || is_steep(program.nodes[k]);
  }
  const std::vector<float>& m = values[at(program.outputs[0])];
  if (!same_bits(run(program, how, kSamples, inputs)[0], m)) fail("values that share memory");
  for (std::size_t k = 0; k < program.nodes.size(); ++k) check_node_alone(program, how, k, values);
  bool sensible = !steep && how.precision == fd::Precision::float32;
  for (const auto& value : values) sensible = sensible && largest(value) < 1e3f;
  for (const std::size_t n : {std::size_t{1}, std::size_t{kSamples}}) {
    check_engine(parts, how, n, inputs, sensible ? &m : nullptr);
  }
}

bool is_engine_file(const std::uint8_t* data, std::size_t size) {
  static const std::uint8_t kSmall[5] = {};  // of the header's length, the upper bytes
  return size > 8 && std::memcmp(data + 3, kSmall, 5) == 0 && data[8] == '{';
}

}  // namespace

#ifndef FD_REPLAY

#include "mutate_engine_file.h"

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  return is_engine_file(data, size) ? mutate_engine_file(data, size, max_size, seed)
                                    : LLVMFuzzerMutate(data, size, max_size);
}

#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const How how(size > 0 ? data[size - 1] : 0);
    if (!is_engine_file(data, size)) {
      check_random(fuzz::random_file(data, size), how);
      return 0;
    }
    const fd::EngineFile file = fd::read_engine_file(data, size, "f");
    if (file.levels > 0) {
      // A step for each pixel at least.
      const double pixels = 1.0 * static_cast<double>(file.sample_shape[1]) *
                            static_cast<double>(file.sample_shape[2]);
      fuzz::check_pixels(file, how.engine(), pixels < 300 && cost_of(file) < kMostCost);
      return 0;
    }
    if (cost_of(file) > kMostCost) {
      plan_only(file, how);
    } else {
      check_engine(file, how, kSamples, inputs_of(file), nullptr);
    }
  } catch (const fd::InvalidArgument& error) {
    const std::string message = error.what();
    if (message.size() > 1000 || message.find('\n') != std::string::npos) fail(message);
  }
  return 0;
}

#ifdef FD_REPLAY
int main(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    std::FILE* file = std::fopen(argv[k], "rb");
    if (file == nullptr) fail(argv[k]);
    std::vector<std::uint8_t> bytes(std::size_t{1} << 20);
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
    std::fclose(file);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%d files\n", argc - 1);
}
#endif
