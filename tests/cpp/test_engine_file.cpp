// Engine files: what a good one says, and that every wrong field of its JSON is named.

#include <cmath>
#include <cstdint>

#include "check.h"
#include "core/error.h"
#include "engine_bytes.h"
#include "plan/engine_file.h"

namespace {

using engine_bytes::edited;
using engine_bytes::Parts;
using engine_bytes::plain_table;
using engine_bytes::read;
using engine_bytes::read_or_refused;
using engine_bytes::small;
using engine_bytes::small_meta;
using engine_bytes::small_tensors;
using engine_bytes::tiny;

struct Damage {
  const char* from;
  const char* to;
  const char* message;
};

}  // namespace

TEST(a_small_file_says_what_was_written) {
  const fd::EngineFile file = read(small());
  CHECK_EQUAL(file.name, "small");
  CHECK_EQUAL(file.sample_shape[0], 2);
  CHECK_EQUAL(file.sample_shape[2], 3);
  CHECK_EQUAL(file.x, "x");
  CHECK_EQUAL(file.context_width, 0);
  CHECK_EQUAL(file.table_name, "plain");
  CHECK_EQUAL(file.table_rows(), 1u);
  CHECK(file.table == plain_table());
  CHECK_EQUAL(file.init_scale, 1.5);
  CHECK(file.to_noise);
  CHECK_EQUAL(file.schedule, "{\"kind\": \"course\", \"T\":500}");
  CHECK(file.request.empty() && file.row_request.empty());
  CHECK_EQUAL(file.row.nodes.size(), 3u);
  CHECK_EQUAL(file.owned.size(), 3u);

  const fd::Program& step = file.step;
  const fd::Node& conv = step.nodes[0];
  CHECK(conv.op == fd::Op::conv2d);
  CHECK_EQUAL(conv.path, "net.conv");
  CHECK_EQUAL(conv.inputs[2], -1);
  CHECK_EQUAL(conv.epilogue.size(), 2u);
  CHECK(conv.epilogue[0].kind == fd::EpilogueStep::unary &&
        conv.epilogue[0].function == fd::Unary::gelu);
  CHECK(conv.epilogue[1].kind == fd::EpilogueStep::add && conv.epilogue[1].input == 3);
  const fd::Value& x = step.values[static_cast<std::size_t>(step.inputs[0])];
  CHECK(x.batched && x.constant == nullptr && x.shape == (std::vector<std::int64_t>{2, 4, 3}));
  const fd::Value& w = step.values[static_cast<std::size_t>(conv.inputs[1])];
  CHECK(!w.batched && w.constant[3] == 8);
  CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(w.constant) % 64, 0u);
  CHECK_EQUAL(step.values[3].constant[0], std::ldexp(1.0f, 40));
}

TEST(the_golden_file_has_every_op) {
  const fd::EngineFile file = read(tiny());
  CHECK_EQUAL(file.labels.size(), 3u);
  CHECK_EQUAL(file.labels[2], "\xCE\xB3");
  CHECK_EQUAL(file.table_rows(), 4u);
  bool seen[static_cast<std::size_t>(fd::Op::cast) + 1] = {};
  int pooled = 0;
  for (const fd::Program* part : {&file.row, &file.request, &file.row_request, &file.step}) {
    for (const fd::Node& node : part->nodes) {
      seen[static_cast<std::size_t>(node.op)] = true;
      const std::string name = fd::op_name(node.op);
      if (name == "slice") CHECK(node.dim == 1 && node.start == 1 && node.stop == 8);
      if (name == "slice") CHECK_EQUAL(node.step, 2);
      if (name == "mean") CHECK(node.keep && node.dims == (std::vector<int>{2, 3}));
      if (name == "permute") CHECK(node.dims == (std::vector<int>{0, 1, 3, 2}));
      if (name == "attention") CHECK_EQUAL(node.attention_scale, 0.5);
      if (name == "layer_norm") CHECK(node.normalized_dims == 1 && node.eps == 1e-6);
      if (name == "group_norm") CHECK_EQUAL(node.groups, 2);
      if (name == "pool") CHECK(node.pool == fd::PoolKind::max && node.kernel[0] == 2);
      if (name == "conv2d" && node.pool_window[1] == 2) {
        ++pooled;
        CHECK(node.pool == fd::PoolKind::mean && node.epilogue.size() == 1);
      }
      if (name == "upsample") CHECK_EQUAL(node.scale[1], 4);
      if (name == "pixel_shuffle") CHECK_EQUAL(node.factor, 2);
      if (name == "conv_transpose2d") CHECK_EQUAL(node.padding[1], 1);
      if (name == "cast") CHECK(node.dtype == fd::DType::int64);
    }
  }
  CHECK_EQUAL(pooled, 1);
  for (std::size_t op = 0; op < sizeof seen; ++op) {
    if (!seen[op]) check::report(__FILE__, __LINE__, fd::op_name(static_cast<fd::Op>(op)));
  }
}

TEST(names_of_ops_and_functions_go_both_ways) {
  for (int k = 0; k <= static_cast<int>(fd::Op::cast); ++k) {
    fd::Op op = fd::Op::conv2d;
    CHECK(fd::parse_op(fd::op_name(static_cast<fd::Op>(k)), &op));
    CHECK_EQUAL(static_cast<int>(op), k);
  }
  fd::Unary unary = fd::Unary::relu;
  CHECK(fd::parse_unary("gelu_tanh", &unary) && unary == fd::Unary::gelu_tanh);
  CHECK(fd::parse_unary("abs", &unary) && unary == fd::Unary::abs);
  fd::Binary binary = fd::Binary::add;
  CHECK(fd::parse_binary("pow", &binary) && binary == fd::Binary::pow);
  CHECK(!fd::parse_op("batch_norm", nullptr));
}

TEST(files_are_read_from_a_path_and_missing_ones_named) {
  const std::string corpus = FASTDIFF_GOLDEN_DIR "/../fuzz/corpus/";
  CHECK_EQUAL(fd::read_engine_file(FASTDIFF_GOLDEN_DIR "/tiny.fdiff").name, "tiny");
  CHECK_EQUAL(fd::read_engine_file(corpus + "small.fdiff").name, "small");
  CHECK_THROWS(fd::InvalidArgument, "newer.fdiff: expected engine file format 1, got 2",
               fd::read_engine_file(corpus + "newer.fdiff"));
  CHECK_THROWS(fd::InvalidArgument, "no/such.fdiff: expected an engine file, got no file",
               fd::read_engine_file("no/such.fdiff"));
  CHECK_THROWS(fd::InvalidArgument, "expected an engine file, got what is no regular file",
               fd::read_engine_file(FASTDIFF_GOLDEN_DIR));
  CHECK_THROWS(fd::InvalidArgument, "noise.txt: expected a whole safetensors file",
               fd::read_engine_file(FASTDIFF_GOLDEN_DIR "/noise.txt"));
}

TEST(a_newer_format_is_named_before_anything_else) {
  CHECK_THROWS(fd::InvalidArgument,
               "f: expected engine file format 1, got 2 (written by a newer fastdiff)",
               read(engine_bytes::file("{\"format\":2,\"anything\":{}}", {})));
  CHECK_THROWS(fd::InvalidArgument, "f: format: expected a whole number",
               read(engine_bytes::file("{\"format\":1.5}", {})));
  CHECK_THROWS(fd::InvalidArgument, "f: expected an object with the key 'format'",
               read(engine_bytes::file("{}", {})));
  CHECK_THROWS(fd::InvalidArgument, "got a safetensors file of something else",
               read(engine_bytes::safetensors("{\"__metadata__\":{\"other\":\"\"}}", "")));
}

TEST(every_wrong_field_is_named) {
  const Damage damages[] = {
      {"\"name\":\"small\"", "\"name\":7", "f: name: expected a string, got 7"},
      {"\"name\":\"small\",", "", "f: expected the key 'name', got an object without it"},
      {"\"labels\":[]", "\"labels\":[],\"extra\":0", "f: expected no key but those of this format"},
      {"\"labels\":[]", "\"labels\":[\"a\"]", "f: labels: expected none, or one for each of 0"},
      {"[2,4,3],", "[2,4],", "f: sample_shape: expected an array of 3, got an array of 2"},
      {"[2,4,3],", "[2,4,0],", "f: sample_shape[2]: expected a whole number from 1"},
      {"[2,4,3],", "[2,4,3.5],", "f: sample_shape[2]: expected a whole number"},
      {"[2,4,3],", "[65536,65536,65536],", "f: sample_shape: expected at most 2^28 elements"},
      {"[2,4,3],", "[4,2,3],",
       "f: programs.step.inputs[0]: expected the dtype of where it is made"},
      {"\"context_width\":0", "\"context_width\":-1", "f: context_width: expected a whole number"},
      {"\"t\":\"t\"", "\"t\":\"x\"", "f: inputs: expected three names"},
      {"\"init_scale\":1.5", "\"init_scale\":1e999", "f: fastdiff_engine: expected a number that"},
      {"\"to_noise\":true", "\"to_noise\":1", "f: table.to_noise: expected true or false, got 1"},
      {"\"schedule\":{\"kind\": \"course\", \"T\":500}", "\"schedule\":[]",
       "f: schedule: expected an object, got an array of 0"},
      {"\"row\":{", "\"roe\":{", "f: programs: expected the key 'row'"},
      {"\"name\":\"i\",\"dtype\":\"int64\"", "\"name\":\"i\",\"dtype\":\"int8\"",
       "f: programs.row.values[1].dtype: expected float32 or int64, got 'int8'"},
      {"\"name\":\"i\"", "\"name\":\"t\"", "values[1].name: expected every value once"},
      {"\"name\":\"i\"", "\"name\":\"\"", "values[1].name: expected a name"},
      {"\"name\":\"i\"", "\"name\":\"j\"", "nodes[0].output: expected one of the values, got 'i'"},
      {"[-1,2,1,1]},", "[1,-1,1,1]},", "dimensions of at least 1, the batch first"},
      {"{\"name\":\"p\",\"dtype\":\"float32\",\"shape\":[-1,2]}",
       "{\"name\":\"p\",\"dtype\":\"float32\",\"shape\":[-1,3]}",
       "f: programs.row.nodes[1], embedding 'p', output: expected [B,2], got [B,3]"},
      {"\"tensor\":\"places\"", "\"tensor\":\"place\"",
       "expected a tensor of the file, got 'place'"},
      {"\"tensor\":\"places\"", "\"tensor\":\"table\"", "expected float32 or int64, got float64"},
      {"\"tensor\":\"places\"", "\"tensor\":\"w\"", "one of the value's dtype and shape [3,2]"},
      {",\"tensor\":\"n\"", "",
       "f: programs.step.values[3]: expected a value that is made, got 'n'"},
      {"{\"name\":\"n\",\"dtype\":\"int64\",\"shape\":[],\"tensor\":\"n\"},", "",
       "f: expected no tensors but those that a program reads, got 'n'"},
      {"\"inputs\":[\"t\"],\"outputs\":[\"e\"]", "\"inputs\":[\"t\",\"t\"],\"outputs\":[\"e\"]",
       "f: programs.row.inputs[1]: expected a value that is not made before, got 't'"},
      {"\"inputs\":[\"t\"],\"outputs\":[\"e\"]", "\"inputs\":[\"table\"],\"outputs\":[\"e\"]",
       "f: programs.row.inputs[0]: expected a value that is not made before, got 'table'"},
      {"\"outputs\":[\"e\"]", "\"outputs\":[\"t\"]", "expected a value that a node makes, once"},
      {"\"outputs\":[\"e\"]", "\"outputs\":[\"e\",\"e\"]",
       "expected a value that a node makes, once"},
      {"\"outputs\":[\"e\"]", "\"outputs\":[]",
       "f: programs.step.inputs[1]: expected what this part"},
      {"\"outputs\":[\"m\"]", "\"outputs\":[]", "f: programs.step.outputs: expected an array of 1"},
      {"\"inputs\":[\"table\",\"i\"]", "\"inputs\":[\"table\",\"e\"]",
       "f: programs.row.nodes[1].inputs[1]: expected a value that is made before, got 'e'"},
      {"\"inputs\":[\"table\",\"i\"]", "\"inputs\":[\"table\",\"p\"]",
       "that is made before, got 'p'"},
      {"\"inputs\":[\"table\",\"i\"]", "\"inputs\":[\"table\",\"t\"]",
       "embedding 'p', index: expected int64, got float32"},
      {"\"inputs\":[\"table\",\"i\"]", "\"inputs\":[\"i\",\"i\"]",
       "embedding 'p', inputs[0]: expected a constant, got 'i'"},
      {"\"inputs\":[\"table\",\"i\"]", "\"inputs\":[\"table\"]", "expected 2 before those of the"},
      {"\"inputs\":[\"table\",\"i\"]", "\"inputs\":[\"table\",\"\"]", "expected a value, got none"},
      {"\"op\":\"conv2d\"", "\"op\":\"batch_norm\"", "expected an op of the engine's list"},
      {"\"op\":\"conv2d\"", "\"op\":\"linear\"", "attributes: expected no key but those of this"},
      {"[\"x\",\"w\",\"\",\"e\"]", "[\"x\",\"w\",\"e\"]", "inputs: expected 3 before those"},
      {"[\"x\",\"w\",\"\",\"e\"]", "[\"x\",\"w\",\"e\",\"e\"]", "inputs[2]: expected a constant"},
      {"[\"x\",\"w\",\"\",\"e\"]", "[\"x\",\"w\",\"w\",\"e\"]",
       "bias: expected [2], got [2,2,1,1]"},
      {"[\"x\",\"w\",\"\",\"e\"]", "[\"x\",\"w\",\"\",\"w\"]",
       "epilogue: expected an operand that broadcasts to [B,2,4,3], got [2,2,1,1]"},
      {"[\"x\",\"w\",\"\",\"e\"]", "[\"x\",\"w\",\"\",\"n\"]",
       "inputs: expected float32, got int64"},
      {"[\"x\",\"w\",\"\",\"e\"]", "[\"x\",\"w\",\"\",\"\"]",
       "inputs[3]: expected a value, got none"},
      {"[\"x\",\"w\",\"\",\"e\"]", "[\"x\",\"\",\"\",\"e\"]",
       "inputs[1]: expected a value, got none"},
      {"\"stride\":[1,1]", "\"stride\":[0,1]",
       "stride[0]: expected a whole number from 1 to 65536"},
      {"\"stride\":[1,1]", "\"stride\":[1,1,1]", "stride: expected an array of 2"},
      {"\"stride\":[1,1]", "\"stride\":[2,1]", "output: expected [B,2,2,3], got [B,2,4,3]"},
      {"\"stride\":[1,1],", "", "attributes: expected the key 'stride'"},
      {"\"padding\":[0,0]", "\"padding\":[-1,0]", "padding[0]: expected a whole number from 0"},
      {"\"dilation\":[1,1]", "\"dilation\":[1,65537]", "dilation[1]: expected a whole number"},
      {"\"groups\":1", "\"groups\":2", "weight: expected [2,1,1,1], got [2,2,1,1]"},
      {"\"groups\":1", "\"groups\":3", "groups: expected a divisor of 2, got 3"},
      {"\"groups\":1", "\"groups\":0", "groups: expected a whole number from 1"},
      {"\"groups\":1", "\"groups\":1,\"eps\":0", "attributes: expected no key but those"},
      {"\"groups\":1", "\"groups\":1,\"pool\":[\"max\",[2,3]]",
       "output: expected [B,2,2,1], got [B,2,4,3]"},
      {"\"groups\":1", "\"groups\":1,\"pool\":[\"max\",[3,1]]",
       "pool: expected a divisor of 4, got 3"},
      {"\"groups\":1", "\"groups\":1,\"pool\":[\"min\",[2,1]]",
       "attributes.pool[0]: expected max or mean, got 'min'"},
      {"\"groups\":1", "\"groups\":1,\"pool\":[\"max\",[0,1]]",
       "attributes.pool[1][0]: expected a whole number from 1 to 65536"},
      {"\"groups\":1", "\"groups\":1,\"pool\":\"max\"", "attributes.pool: expected an array of 2"},
      {"[\"add\",3]", "[\"add\",2]", "expected the operands behind the op's own inputs"},
      {"[\"add\",3]", "[\"add\",4]", "expected the operands behind the op's own inputs"},
      {"[\"add\",3]", "[\"add\",-1]", "epilogue[1][1]: expected a whole number from 0"},
      {"[\"add\",3]", "[\"sub\",3]", "epilogue[1][0]: expected unary, add or mul, got 'sub'"},
      {"[\"unary\",\"gelu\"]", "[\"unary\",\"warp\"]", "expected a function, got 'warp'"},
      {"[\"unary\",\"gelu\"]", "[\"unary\"]", "epilogue[0]: expected an array of 2"},
      {"[\"unary\",\"gelu\"]", "[\"add\",3],[\"add\",4],[\"add\",5],[\"add\",6],[\"add\",7]",
       "epilogue: expected an input for every operand"},
      {"\"attributes\":{\"shape\":[-1,2,1,1]}", "\"attributes\":{\"shape\":[-1,1,1,1]}",
       "shape: expected as many elements a sample as [B,2], got [B,1,1,1]"},
      {"\"attributes\":{\"shape\":[-1,2,1,1]}", "\"attributes\":{\"shape\":[2,1,1]}",
       "shape: expected as many elements"},
      {"\"attributes\":{\"shape\":[-1,2,1,1]}", "\"attributes\":{\"shape\":[-1,2,-1,-1]}",
       "shape: expected dimensions of at least 1, the batch first"},
      {"\"attributes\":{\"dtype\":\"int64\"}", "\"attributes\":{\"dtype\":\"float32\"}",
       "cast 'i', output: expected float32, got int64"},
  };
  read(small());
  for (const Damage& d : damages) {
    const std::string meta = edited(small_meta(), d.from, d.to);
    if (meta.empty()) check::report(__FILE__, __LINE__, d.from);
    CHECK_THROWS(fd::InvalidArgument, d.message, read(engine_bytes::file(meta, small_tensors())));
  }
}

TEST(every_op_holds_its_output_against_its_inputs) {
  const Parts parts(tiny());
  const Damage damages[] = {
      {"\"dim\":1", "\"dim\":0", "dim: expected a dimension of [B,2] that is not the batch, got 0"},
      {"\"dim\":1", "\"dim\":2", "dim: expected a dimension of [B,2] that is not the batch, got 2"},
      {"\"dim\":1", "\"dim\":7", "dim: expected a whole number from 0 to 6"},
      {"\"start\":1,\"stop\":8", "\"start\":8,\"stop\":8", "start: expected from 0 to 7, got 8"},
      {"\"start\":1,\"stop\":8", "\"start\":1,\"stop\":9", "stop: expected from 2 to 8, got 9"},
      {"\"start\":1,\"stop\":8", "\"start\":3,\"stop\":3", "stop: expected from 4 to 8, got 3"},
      {"\"start\":1,\"stop\":8", "\"start\":2,\"stop\":8", "output: expected [B,3,4,3]"},
      {"\"step\":2", "\"step\":0", "step: expected a whole number from 1"},
      {"\"dims\":[0,1,3,2]", "\"dims\":[1,0,3,2]", "the batch first"},
      {"\"dims\":[0,1,3,2]", "\"dims\":[0,1,3,3]", "every dimension of [B,2,2,12] once"},
      {"\"dims\":[0,1,3,2]", "\"dims\":[0,1,2]", "every dimension of [B,2,2,12] once"},
      {"\"dims\":[0,1,3,2]", "\"dims\":[0,1,2,3]", "output: expected [B,2,2,12], got [B,2,12,2]"},
      {"\"dims\":[2,3]", "\"dims\":[0,3]", "dim: expected a dimension of [B,4,4,3]"},
      {"\"dims\":[2,3]", "\"dims\":[3,3]", "dims: expected every dimension once, got 3 twice"},
      {"\"dims\":[2,3]", "\"dims\":[]", "dims: expected at least one dimension"},
      {"\"dims\":[2,3]", "\"dims\":[1,3]", "output: expected [B,1,4,1], got [B,4,1,1]"},
      {"\"keep\":true", "\"keep\":false", "output: expected [B,4], got [B,4,1,1]"},
      {"\"kind\":\"mul\"", "\"kind\":\"mod\"", "kind: expected add, sub, mul, div or pow"},
      {"\"kind\":\"sin\"", "\"kind\":\"sinh\"", "kind: expected a function, got 'sinh'"},
      {"\"kind\":\"max\"", "\"kind\":\"min\"", "kind: expected max or mean, got 'min'"},
      {"\"kind\":\"max\",\"kernel\":[2,2],\"stride\":[2,2],\"padding\":[0,0]",
       "\"kind\":\"mean\",\"kernel\":[2,2],\"stride\":[2,2],\"padding\":[1,0]",
       "padding: expected [0,0] of a mean"},
      {"\"kernel\":[2,2],\"stride\":[2,2],\"padding\":[0,0]",
       "\"kernel\":[2,2],\"stride\":[2,2],\"padding\":[2,0]",
       "padding: expected from 0 to 1, got 2"},
      {"\"kernel\":[2,2]", "\"kernel\":[9,2]", "x: expected at least one window in it"},
      {"\"groups\":2,\"eps\":1e-05", "\"groups\":3,\"eps\":1e-05",
       "groups: expected a divisor of 4"},
      {"\"groups\":2,\"eps\":1e-05", "\"groups\":8,\"eps\":1e-05", "groups: expected from 1 to 4"},
      {"\"eps\":1e-05", "\"eps\":-1e-05", "eps: expected a small number from 0"},
      {"\"eps\":1e-05", "\"eps\":1e300", "eps: expected a small number from 0"},
      {"\"dims\":1,\"eps\"", "\"dims\":4,\"eps\"", "dims: expected a number of last dimensions"},
      {"\"dims\":1,\"eps\"", "\"dims\":2,\"eps\"", "gamma: expected [12,2], got [2]"},
      {"\"scale\":0.5", "\"scale\":1e39", "scale: expected a float32"},
      {"\"scale\":[4,4]", "\"scale\":[4,5]", "output: expected [B,4,16,15], got [B,4,16,12]"},
      {"\"scale\":[4,4]", "\"scale\":[65536,65536]", "output: expected [B,4,262144,196608]"},
      {"\"factor\":2", "\"factor\":3", "factor: expected one whose square divides 8, got 3"},
      {"\"op\":\"pixel_unshuffle\",\"inputs\":[\"v37\"],\"output\":\"v38\",\"attributes\":{"
       "\"factor\":2",
       "\"op\":\"pixel_unshuffle\",\"inputs\":[\"v37\"],\"output\":\"v38\",\"attributes\":{"
       "\"factor\":4",
       "factor: expected a divisor of 6, got 4"},
      {"\"output_padding\":[0,0]", "\"output_padding\":[1,0]",
       "output_padding: expected from 0 to 0"},
      {"\"inputs\":[\"v23\",\"v23\",\"v23\"]", "\"inputs\":[\"v23\",\"v22\",\"v23\"]",
       "k: expected [B,2,2,2], got [B,2,2,12]"},
      {"\"inputs\":[\"v23\",\"v26\"]", "\"inputs\":[\"v23\",\"v23\"]",
       "b: expected rows as the columns of a, [B,2,12,2], got [B,2,12,2]"},
      {"\"inputs\":[\"v25\",\"v29\"]", "\"inputs\":[\"v25\",\"v28\"]",
       "b: expected a shape that broadcasts with [B,2,12,2], got [B,2,12,12]"},
      {"\"inputs\":[\"v33\",\"v35\"]", "\"inputs\":[\"v33\",\"v34\"]",
       "inputs: expected [B,4,4,3] but for dimension 1, got [B,4,1,1]"},
      {"\"inputs\":[\"v33\",\"v35\"]", "\"inputs\":[]", "expected 1 before those of the epilogue"},
      {"\"inputs\":[\"v34\"]", "\"inputs\":[\"v23\"]",
       "shape: expected one that [B,2,12,2] broadcasts"},
      {"\"inputs\":[\"context\"],\"outputs\"", "\"inputs\":[\"t\"],\"outputs\"",
       "programs.request.inputs[0]: expected one of the values"},
      {"\"op\":\"softmax\",\"inputs\":[\"v11\"],\"output\":\"v12\",\"attributes\":{\"dim\":1},"
       "\"epilogue\":[]",
       "\"op\":\"softmax\",\"inputs\":[\"v11\"],\"output\":\"v12\",\"attributes\":{\"dim\":1},"
       "\"epilogue\":[[\"unary\",\"relu\"]]",
       "epilogue: expected none behind softmax, got one"},
      {"\"inputs\":[\"v10\",\"v13\"],\"outputs\"", "\"inputs\":[\"v13\",\"v10\",\"x\"],\"outputs\"",
       "programs.row_request.inputs[2]: expected one of the values, got 'x'"},
      {"\"context_width\":3", "\"context_width\":4", "labels: expected none, or one for each of 4"},
  };
  CHECK(read_or_refused(parts.with(parts.meta)));
  for (const Damage& d : damages) {
    const std::string meta = edited(parts.meta, d.from, d.to);
    if (meta.empty()) check::report(__FILE__, __LINE__, d.from);
    CHECK_THROWS(fd::InvalidArgument, d.message, read(parts.with(meta)));
  }
}

TEST(parts_read_what_earlier_ones_make_and_nothing_else) {
  const Parts parts(tiny());
  // All "v10" of the row under another name: nobody makes what the later parts read.
  std::string meta = parts.meta;
  const std::size_t end = meta.find("\"request\"");
  for (std::size_t at; (at = meta.find("\"v10\"")) < end;) meta.replace(at, 5, "\"r10\"");
  CHECK_THROWS(fd::InvalidArgument,
               "f: programs.row_request.inputs[0]: expected what this part may read, got 'v10'",
               read(parts.with(meta)));
  // The request reads t in place of context.
  meta = small_meta();
  meta =
      edited(meta, "\"request\":{\"name\":\"\",\"inputs\":[],\"outputs\":[],\"values\":[]",
             "\"request\":{\"name\":\"\",\"inputs\":[\"t\"],\"outputs\":[],\"values\":[{\"name\":"
             "\"t\",\"dtype\":\"float32\",\"shape\":[-1]}]");
  CHECK_THROWS(fd::InvalidArgument, "f: programs.request.inputs[0]: expected what this part may",
               read(engine_bytes::file(meta, small_tensors())));
}

TEST_MAIN
