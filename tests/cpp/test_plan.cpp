// Plans of programs that share memory in ways easily got wrong, and of those that ask for too much.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "cpu/dispatch.h"
#include "plan/aligned.h"
#include "plan/plan.h"
#include "sampling/engine.h"

namespace {

using fd::Node;
using fd::Op;
using fd::Program;
using Shape = std::vector<std::int64_t>;

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

int add_input(Program* program, const std::string& name, const Shape& shape) {
  program->inputs.push_back(add_value(program, name, shape));
  return program->inputs.back();
}

// A node of these inputs, its output of that shape.
Node& add_node(Program* program, Op op, const std::vector<int>& inputs, const Shape& shape) {
  Node node;
  node.op = op;
  node.inputs = inputs;
  node.output = add_value(program, "v" + std::to_string(program->values.size()), shape);
  program->nodes.push_back(node);
  return program->nodes.back();
}

// x and nothing between it and m but `op`: what an op that works in place needs is a value that
// nobody reads afterwards, so x is doubled first.
int doubled(Program* program, int x) {
  return add_node(program, Op::binary, {x, x}, program->values[static_cast<std::size_t>(x)].shape)
      .output;
}

std::vector<float> run(const Program& program, std::vector<float> x) {
  fd::PlanOptions options;
  options.isa = fd::active_isa();
  fd::Plan plan(program, options);
  const fd::Regime regime = fd::Regime::of(1, false);
  plan.pack(regime);
  const fd::AlignedFloats arena(plan.arena_floats(1)), scratch(plan.scratch_floats(1));
  std::vector<float> out(static_cast<std::size_t>(plan.output_floats(0)));
  const fd::Bound in{x.data(), plan.input_floats(0)}, to{out.data(), plan.output_floats(0)};
  fd::Team alone = fd::Team::alone();
  plan.run(1, regime, &in, &to, arena.data(), 1, scratch.data(), alone);
  return out;
}

void check_values(const std::vector<float>& got, const std::vector<float>& expected) {
  CHECK_EQUAL(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK_EQUAL(got[i], expected[i]);
}

// A file of one step, x of this shape.
fd::EngineFile file_of(const Program& step, const Shape& sample) {
  fd::EngineFile file;
  file.name = "made";
  file.x = "x", file.t = "t", file.context = "context";
  for (std::size_t k = 0; k < 3; ++k) file.sample_shape[k] = sample[k];
  file.step = step;
  file.table.assign(fd::kTableColumns, 0.0);
  return file;
}

std::unique_ptr<fd::Engine> engine_of(const fd::EngineFile& file) {
  fd::EngineOptions options;
  options.threads = 1;
  options.autotune = false;
  return fd::Engine::make(file, options);
}

}  // namespace

// neg(a) + a, with the sum in the epilogue: a is read after neg has written.
TEST(an_epilogue_reads_what_the_op_has_read) {
  Program program;
  const int a = doubled(&program, add_input(&program, "x", {4}));
  Node& node = add_node(&program, Op::unary, {a, a}, {4});
  node.unary = fd::Unary::neg;
  fd::NodeEpilogue step;
  step.kind = fd::EpilogueStep::add;
  step.input = 1;
  node.epilogue = {step};
  program.outputs = {node.output};
  check_values(run(program, {1, 2, 3, 4}), {0, 0, 0, 0});
}

// a + a', and a + a's first row: other views of what would be written.
TEST(an_op_in_place_reads_its_input_in_another_order) {
  Program program;
  const int a = doubled(&program, add_input(&program, "x", {2, 2}));
  Node& turned = add_node(&program, Op::permute, {a}, {2, 2});
  turned.dims = {0, 2, 1};
  const int b = turned.output;
  program.outputs = {add_node(&program, Op::binary, {a, b}, {2, 2}).output};
  check_values(run(program, {1, 2, 3, 4}), {4, 10, 10, 16});

  Program rows;
  const int c = doubled(&rows, add_input(&rows, "x", {3, 2}));
  Node& first = add_node(&rows, Op::slice, {c}, {1, 2});
  first.dim = 1, first.start = 0, first.stop = 1;
  const int d = first.output;
  rows.outputs = {add_node(&rows, Op::binary, {c, d}, {3, 2}).output};
  check_values(run(rows, {1, 2, 3, 4, 5, 6}), {4, 8, 8, 12, 12, 16});
}

TEST(a_file_that_asks_for_terabytes_is_refused) {
  constexpr std::int64_t kMany = std::int64_t{1} << 28;
  Program program;
  const int x = add_input(&program, "x", {1, 1, 1});
  const int wide = add_node(&program, Op::broadcast, {x}, {1, 1, kMany}).output;
  std::vector<int> kept;
  for (int k = 0; k < 40; ++k) {
    kept.push_back(add_node(&program, Op::unary, {wide}, {1, 1, kMany}).output);
  }
  int sum = kept[0];
  for (int value : kept) {
    sum = add_node(&program, Op::binary, {sum, value}, {1, 1, kMany}).output;
  }
  Node& mean = add_node(&program, Op::mean, {sum}, {1, 1, 1});
  mean.dims = {3};
  mean.keep = true;
  program.outputs = {mean.output};
  CHECK_THROWS(fd::InvalidArgument, "expected at most 4 GiB of memory a sample, got 4",
               engine_of(file_of(program, {1, 1, 1})));
}

TEST(a_table_that_asks_for_terabytes_is_refused) {
  constexpr std::int64_t kMany = 1 << 20;
  fd::EngineFile file;
  Program row, step;
  const int t = add_input(&row, "t", {});
  const int flat = add_node(&row, Op::reshape, {t}, {1}).output;
  const int wide = add_node(&row, Op::broadcast, {flat}, {kMany}).output;
  row.outputs = {add_node(&row, Op::unary, {wide}, {kMany}).output};
  const int x = add_input(&step, "x", {1, 1, 1});
  const int times =
      add_input(&step, row.values[static_cast<std::size_t>(row.outputs[0])].name, {kMany});
  Node& mean = add_node(&step, Op::mean, {times}, {1});
  mean.dims = {1};
  mean.keep = true;
  const int image = add_node(&step, Op::reshape, {mean.output}, {1, 1, 1}).output;
  step.outputs = {add_node(&step, Op::binary, {x, image}, {1, 1, 1}).output};
  file = file_of(step, {1, 1, 1});
  file.row = row;
  const auto engine = engine_of(file);  // of one row
  const float in[] = {1}, time[] = {-2};
  float m = 0;
  engine->predict(1, in, time, nullptr, &m);
  CHECK_EQUAL(m, 1.0f);  // relu
  file.table.assign(fd::kTableColumns * 2000, 0.0);
  CHECK_THROWS(fd::InvalidArgument, "expected at most 4 GiB of memory for its table's rows, got 8",
               engine_of(file));
}

// What a stride skips to is kept a place each.
TEST(a_stride_without_sense_is_refused) {
  const float one[] = {1};
  Program program;
  const int x = add_input(&program, "x", {1, 1, 1});
  const int weight = add_value(&program, "w", {1, 1, 1, 1}, one);
  Node& node = add_node(&program, Op::conv_transpose2d, {x, weight, -1}, {1, 16384, 16384});
  node.stride[0] = node.stride[1] = 65536;
  node.output_padding[0] = node.output_padding[1] = 16383;
  Node& mean = add_node(&program, Op::mean, {node.output}, {1, 1, 1});
  mean.dims = {2, 3};
  mean.keep = true;
  program.outputs = {mean.output};
  CHECK_THROWS(fd::InvalidArgument, "strides of 65536 and 65536",
               engine_of(file_of(program, {1, 1, 1})));
}

TEST_MAIN
