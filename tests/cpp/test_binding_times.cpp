// A network cut by binding times against the same network as one step: what follows from times and
// contexts alone, computed once and looked up, must not change a bit.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/dispatch.h"
#include "sampling/contexts.h"
#include "sampling/engine.h"
#include "sampling/network.h"
#include "sampling/plan_stepper.h"

namespace {

using fd::Node;
using fd::Op;
using fd::Program;
using Floats = std::vector<float>;
using Shape = std::vector<std::int64_t>;

constexpr std::int64_t kWidth = 16;  // of t's and context's features, and of an image
constexpr std::size_t kElements = kWidth;
// Copies of a pair's features, 1 MiB of them a pair: more than a hundred pairs are not stored.
constexpr std::int64_t kMany = 1 << 14;

int add_value(Program* program, const std::string& name, const Shape& shape,
              const float* constant = nullptr) {
  fd::Value value;
  value.name = name;
  value.shape = shape;
  value.batched = constant == nullptr;
  value.constant = constant;
  program->values.push_back(value);
  return static_cast<int>(program->values.size()) - 1;
}

int add_node(Program* program, Op op, const std::string& name, const std::vector<int>& inputs,
             const Shape& shape) {
  Node node;
  node.op = op;
  node.inputs = inputs;
  node.output = add_value(program, name, shape);
  node.unary = fd::Unary::sin;
  node.dims = {1};
  program->nodes.push_back(node);
  return node.output;
}

// The value of that name: made by the program, or from now on an input of it.
int value_of(Program* program, const std::string& name, const Shape& shape) {
  for (std::size_t i = 0; i < program->values.size(); ++i) {
    if (program->values[i].name == name) return static_cast<int>(i);
  }
  program->inputs.push_back(add_value(program, name, shape));
  return program->inputs.back();
}

// 1 ... n, scaled: weights and images.
Floats numbers(std::size_t n, float scale) {
  Floats values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = scale * std::sin(static_cast<float>(i) + 1);
  return values;
}

const Floats kFrequencies = numbers(kWidth, 3), kWeight = numbers(kWidth * kWidth, 0.4f);

void make_row(Program* p) {  // e = sin(t * frequencies)
  const int flat = add_node(p, Op::reshape, "flat", {value_of(p, "t", {})}, {1});
  const int wide = add_node(p, Op::broadcast, "wide", {flat}, {kWidth});
  const int by = add_value(p, "frequencies", {kWidth}, kFrequencies.data());
  const int angle = add_node(p, Op::binary, "angle", {wide, by}, {kWidth});
  p->nodes.back().binary = fd::Binary::mul;
  add_node(p, Op::unary, "e", {angle}, {kWidth});
}

void make_request(Program* p) {  // c = sin(context)
  add_node(p, Op::unary, "c", {value_of(p, "context", {kWidth})}, {kWidth});
}

void make_row_request(Program* p, std::int64_t copies) {  // f = W (e + c), copied; g = c e
  const int e = value_of(p, "e", {kWidth}), c = value_of(p, "c", {kWidth});
  const int sum = add_node(p, Op::binary, "sum", {e, c}, {kWidth});
  const int weight = add_value(p, "weight", {kWidth, kWidth}, kWeight.data());
  const int product = add_node(p, Op::linear, "product", {sum, weight, -1}, {kWidth});
  const int one = add_node(p, Op::reshape, "one", {product}, {1, kWidth});
  const int many = add_node(p, Op::broadcast, "many", {one}, {copies, kWidth});
  add_node(p, Op::unary, "f", {many}, {copies, kWidth});
  add_node(p, Op::binary, "g", {c, e}, {kWidth});
  p->nodes.back().binary = fd::Binary::mul;
}

void make_step(Program* p, std::int64_t copies) {  // m = sin(x + mean(f)) + g
  const int mean = add_node(p, Op::mean, "mean", {value_of(p, "f", {copies, kWidth})}, {kWidth});
  const int image = add_node(p, Op::reshape, "image", {mean}, {1, 1, kWidth});
  const int sum =
      add_node(p, Op::binary, "xf", {value_of(p, "x", {1, 1, kWidth}), image}, {1, 1, kWidth});
  const int m = add_node(p, Op::unary, "sine", {sum}, {1, 1, kWidth});
  const int g = add_node(p, Op::reshape, "gi", {value_of(p, "g", {kWidth})}, {1, 1, kWidth});
  p->outputs = {add_node(p, Op::binary, "m", {m, g}, {1, 1, kWidth})};
}

void let_out(Program* p, const std::vector<std::string>& names) {
  for (const std::string& name : names) p->outputs.push_back(value_of(p, name, {}));
}

// Cut by binding times, or whole: all of it in the step.
fd::EngineFile file_of(bool cut, std::int64_t copies) {
  fd::EngineFile file;
  file.name = "made";
  file.x = "x", file.t = "t", file.context = "context";
  file.sample_shape[0] = file.sample_shape[1] = 1;
  file.sample_shape[2] = kWidth;
  file.context_width = kWidth;
  make_row(cut ? &file.row : &file.step);
  make_request(cut ? &file.request : &file.step);
  make_row_request(cut ? &file.row_request : &file.step, copies);
  make_step(&file.step, copies);
  if (cut) {
    let_out(&file.row, {"e"});
    let_out(&file.request, {"c"});
    let_out(&file.row_request, {"f", "g"});
  }
  file.table.assign(fd::kTableColumns, 0.0);
  return file;
}

std::unique_ptr<fd::Engine> engine_of(bool cut, std::int64_t copies, int threads) {
  fd::EngineOptions options;
  options.threads = threads;
  options.autotune = false;
  return fd::Engine::make(file_of(cut, copies), options);
}

// A request: n samples, of which `distinct` contexts are their own and the rest repeat.
struct Case {
  std::vector<double> table;
  std::vector<std::uint64_t> seeds;
  Floats context, guidance;
  fd::SampleRequest request;

  Case(std::size_t rows, std::size_t n, std::size_t distinct, bool guided, double time = 1)
      : table(rows * fd::kTableColumns), guidance(n, 2.5f) {
    for (std::size_t k = 0; k < rows; ++k) {
      double* row = &table[k * fd::kTableColumns];
      row[fd::kColumnTime] = time * static_cast<double>(k + 1) / static_cast<double>(rows);
      row[fd::kColumnInScale] = 1;
      row[fd::kColumnX] = 0.9;
      row[fd::kColumnM] = 0.4;
      row[fd::kColumnNoise] = 0.1;
    }
    for (std::size_t i = 0; i < n; ++i) {
      seeds.push_back(i);
      for (std::size_t j = 0; j < kElements; ++j) {
        context.push_back(std::cos(static_cast<float>(i % std::max<std::size_t>(distinct, 1) + j)));
      }
    }
    request.table = {table.data(), rows, 1};
    request.n = n;
    request.seeds = seeds.data();
    if (distinct > 0) request.context = context.data();
    if (guided && distinct > 0) request.guidance = guidance.data();
  }
  Case(const Case&) = delete;
};

Floats drawn(const fd::Engine& engine, const fd::SampleRequest& request) {
  Floats out(request.n * kElements, 7.0f);
  CHECK_EQUAL(engine.sample(request, out.data()), request.table.rows);
  return out;
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A network as an engine has it, for looks inside.
struct Inside {
  fd::EngineFile file;
  fd::Network network;

  explicit Inside(bool cut, std::int64_t copies = 3)
      : file(file_of(cut, copies)), network(file, options()) {
    network.settle();
  }
  static fd::PlanOptions options() {
    fd::PlanOptions options;
    options.isa = fd::active_isa();
    options.threads = 2;
    return options;
  }
};

fd::Conditions conditions_of(const Floats& times, const Floats& context) {
  fd::Conditions conditions;
  conditions.times = times.data();
  conditions.rows = times.size();
  conditions.context = context.data();
  conditions.n = context.size() / kElements;
  conditions.unconditional = true;
  conditions.fewest = conditions.most = 8;
  return conditions;
}

Floats places(const fd::Contexts& contexts, std::size_t n) {
  Floats found;
  for (std::size_t i = 0; i < n; ++i) found.push_back(static_cast<float>(contexts.of_sample(i)));
  return found;
}

}  // namespace

TEST(a_cut_network_draws_the_bits_of_the_whole) {
  for (int threads : {1, 2}) {
    const auto cut = engine_of(true, 3, threads), whole = engine_of(false, 3, threads);
    // One engine for all: what it keeps of one request must not show in the next.
    for (std::size_t n : {1u, 2u, 9u, 300u}) {
      for (std::size_t distinct : {0u, 1u, 3u, 300u}) {
        for (bool guided : {false, true}) {
          for (double time : {1.0, 2.0}) {
            const Case c(5, n, distinct, guided, time);
            CHECK(same_bits(drawn(*cut, c.request), drawn(*whole, c.request)));
            CHECK(same_bits(drawn(*cut, c.request), drawn(*whole, c.request)));
          }
        }
      }
    }
  }
}

TEST(more_pairs_than_are_stored_draw_the_same_bits) {
  for (int threads : {1, 2}) {
    const auto cut = engine_of(true, kMany, threads), whole = engine_of(false, kMany, threads);
    for (std::size_t rows : {2u, 40u, 2u}) {
      for (std::size_t n : {1u, 3u, 9u}) {
        const Case c(rows, n, 2, true);
        CHECK(same_bits(drawn(*cut, c.request), drawn(*whole, c.request)));
      }
    }
  }
}

TEST(pairs_are_stored_within_a_bound) {
  Inside large(true, kMany);
  const auto workspace = large.network.lease();
  const auto stored = [&](std::size_t rows, std::size_t distinct, bool every_row) {
    const Floats times(rows, 0.5f), context = numbers(distinct * kElements, 1);
    fd::Conditions conditions = conditions_of(times, context);
    conditions.every_row = every_row;
    const fd::PlanStepper stepper(large.network, conditions, *workspace);
    CHECK_EQUAL(workspace->values.contexts().count(), distinct + 1);
    return workspace->values.pairs_stored();
  };
  CHECK(stored(20, 1, true));    // 40 MiB
  CHECK(!stored(20, 3, true));   // 80
  CHECK(!stored(20, 1, false));  // asked at a row each
  CHECK(stored(1, 30, true));
}

TEST(the_step_is_left_with_what_x_decides) {
  const Inside cut(true), whole(false);
  CHECK(cut.network.step().plan.step_count() < whole.network.step().plan.step_count());
  const fd::Regime regime{1, false};
  CHECK(check::contains(cut.network.describe(regime), "row_request, for each row"));
  CHECK(!check::contains(whole.network.describe(regime), "row_request"));
  const auto times = engine_of(true, 3, 2)->profile(1, 1);
  CHECK_EQUAL(times.size(),
              cut.network.row_request().plan.step_count() + cut.network.step().plan.step_count());
  CHECK(check::contains(times.front().step, "row_request: "));
  CHECK(!check::contains(times.back().step, "row_request"));
}

TEST(samples_at_different_rows_share_a_batch) {
  const Floats times = {0.1f, 0.4f, 0.7f}, context = numbers(2 * kElements, 1);
  const Floats x = numbers(4 * kElements, 0.5f);
  for (std::int64_t copies : {std::int64_t{3}, kMany}) {
    Floats answers[3];
    for (int way = 0; way < 3; ++way) {  // stored, not stored, whole
      Inside inside(way != 2, copies);
      fd::Conditions conditions = conditions_of(times, context);
      conditions.every_row = way != 1;
      const auto workspace = inside.network.lease();
      const fd::PlanStepper stepper(inside.network, conditions, *workspace);
      answers[way].assign(x.size(), 7.0f);
      std::vector<fd::Ask> asks(4);
      const std::int32_t rows[4] = {2, 0, 0, 1};
      for (std::size_t i = 0; i < 4; ++i) {
        asks[i].row = rows[i];
        asks[i].sample = i == 3;
        asks[i].unconditional = i == 1;
        asks[i].x = &x[i * kElements];
        asks[i].m = &answers[way][i * kElements];
      }
      fd::Team alone = fd::Team::alone();
      stepper.predict(asks.data(), asks.size(), alone, 0);
    }
    CHECK(same_bits(answers[0], answers[2]));
    CHECK(same_bits(answers[1], answers[2]));
  }
}

TEST(contexts_are_told_apart_by_their_bits) {
  fd::Contexts contexts;
  const Floats given = {5, 1, 0, 0, 5, 1, 2, 3, 0, -0.0f, 0, 0};
  contexts.find(given.data(), 6, 2, true);
  CHECK(places(contexts, 6) == (Floats{0, 1, 0, 2, 3, 1}));
  CHECK_EQUAL(contexts.unconditional(), 1u);
  CHECK(contexts.values() == (Floats{5, 1, 0, 0, 2, 3, 0, -0.0f}));
  contexts.find(given.data(), 1, 2, true);
  CHECK_EQUAL(contexts.count(), 2u);
  CHECK_EQUAL(contexts.unconditional(), 1u);
  contexts.find(given.data(), 3, 2, false);
  CHECK(contexts.values() == (Floats{5, 1, 0, 0}));
  contexts.find(nullptr, 3, 2, true);
  CHECK(places(contexts, 3) == (Floats{0, 0, 0}));
  CHECK_EQUAL(contexts.unconditional(), 0u);
  CHECK(contexts.values() == (Floats{0, 0}));
  contexts.find(nullptr, 3, 0, false);
  CHECK_EQUAL(contexts.count(), 1u);
}

TEST_MAIN
