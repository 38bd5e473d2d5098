// Engine files that were cut, flipped or made up: each is read or refused in a sentence, at little
// cost.

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

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
using engine_bytes::TensorBytes;
using engine_bytes::tiny;

}  // namespace

TEST(tensors_are_held_against_the_file) {
  const auto with = [](std::size_t k, const TensorBytes& changed) {
    std::vector<TensorBytes> tensors = small_tensors();
    tensors[k] = changed;
    return engine_bytes::file(small_meta(), tensors);
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  const auto w = [&](float last) {
    return with(2, engine_bytes::tensor<float>("w", "F32", "[2,2,1,1]", {1, 2, 3, last}));
  };
  CHECK_THROWS(fd::InvalidArgument,
               "f: programs.step.values[2].tensor: expected a tensor of numbers", read(w(nan)));
  CHECK(std::isinf(read(w(infinite)).step.values[2].constant[3]));
  for (std::int64_t whole : {std::int64_t{16777217}, INT64_MAX, -INT64_MAX}) {
    CHECK_THROWS(fd::InvalidArgument, "expected integers that float32 holds exactly",
                 read(with(3, engine_bytes::tensor<std::int64_t>("n", "I64", "[]", {whole}))));
  }
  read(with(3, engine_bytes::tensor<std::int64_t>("n", "I64", "[]", {INT64_MIN})));
  CHECK_THROWS(fd::InvalidArgument, "f: tensor 'w'.dtype: expected F32, F64 or I64, got 'F16'",
               read(with(2, engine_bytes::tensor<float>("w", "F16", "[2,2,1,1]", {1, 2, 3, 4}))));
  CHECK_THROWS(fd::InvalidArgument, "f: tensor 'w'.data_offsets: expected 4 elements of 4 bytes",
               read(with(2, engine_bytes::tensor<float>("w", "F32", "[2,2,1,1]", {1, 2, 3}))));
  CHECK_THROWS(
      fd::InvalidArgument, "no more elements than the file has bytes",
      read(with(2, engine_bytes::tensor<float>("w", "F32", "[1000000000,1000000000]", {1}))));
  CHECK_THROWS(fd::InvalidArgument, "shape[0]: expected a whole number from 0",
               read(with(2, engine_bytes::tensor<float>("w", "F32", "[-2,-2,1,1]", {1, 2, 3, 4}))));
}

TEST(headers_are_held_against_the_file) {
  const auto refused = [](const std::string& message, const std::string& header,
                          const std::string& data = "") {
    CHECK_THROWS(fd::InvalidArgument, message, read(engine_bytes::safetensors(header, data)));
  };
  const std::string eight(8, '\0');
  refused("f: expected a header that is an object, got an array of 0", "[]");
  refused("f: header: expected a JSON value at byte 0", "");
  refused("f: __metadata__: expected an object", "{\"__metadata__\":[]}");
  refused("f: __metadata__[0]: expected a string, got 1", "{\"__metadata__\":{\"a\":1}}");
  const std::string a = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[";
  refused("f: tensor 'a'.data_offsets[1]: expected a whole number from 0 to 8", a + "0,12]}}",
          eight);
  refused("f: tensor 'a'.data_offsets[1]: expected a whole number from 8 to 8", a + "8,4]}}",
          eight);
  refused("f: tensor 'a'.data_offsets[0]: expected a whole number from 0 to 8", a + "-4,0]}}",
          eight);
  refused("f: tensor 'a'.data_offsets[0]: expected a whole number", a + "1e300,4]}}", eight);
  refused("f: expected tensors without gap or overlap", a + "4,8]}}", eight);
  refused("f: expected 4 bytes of tensors, as its header says, got 8", a + "0,4]}}", eight);
  refused("f: expected tensors without gap or overlap, got one at byte 0 where another ends at 4",
          a + "0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", eight);
  refused("expected every key of an object once", a + "0,4]},\"a\":0}", eight);

  std::string huge = engine_bytes::safetensors("{}", "");
  huge[7] = '\x7F';
  CHECK_THROWS(fd::InvalidArgument, "f: expected a whole safetensors file, got 10 bytes",
               read(huge));
  CHECK_THROWS(fd::InvalidArgument, "f: expected a header of at most 16777216 bytes",
               read(engine_bytes::safetensors(std::string((16u << 20) + 1, ' '), "")));
}

TEST(tables_are_held_against_their_rules) {
  const auto refused = [](const std::string& message, const std::string& shape,
                          const std::vector<double>& table) {
    std::vector<TensorBytes> tensors = small_tensors();
    tensors[0] = engine_bytes::tensor<double>("table", "F64", shape, table);
    CHECK_THROWS(fd::InvalidArgument, message, read(engine_bytes::file(small_meta(), tensors)));
  };
  const auto with = [](std::size_t column, double value) {
    std::vector<double> table = plain_table(2);
    table[fd::kTableColumns + column] = value;
    return table;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  for (std::size_t column : {0u, 2u, 9u, 12u, 16u, 18u}) {
    refused("f: table: expected finite weights, got others in row 1", "[2,19]", with(column, nan));
    refused("f: table: expected finite weights", "[2,19]", with(column, infinite));
  }
  refused("f: table: expected finite weights", "[2,19]", with(13, nan));
  refused("f: table: expected x0_lo <= x0_hi", "[2,19]", [&] {
    std::vector<double> table = with(13, 1);
    table[fd::kTableColumns + 14] = 0;
    return table;
  }());
  refused("f: table: expected clamp_m 0 or 1", "[2,19]", with(15, 0.5));
  refused("f: table: expected clamp_m only where x0_from_m is not 0", "[2,19]", [&] {
    std::vector<double> table = with(15, 1);
    table[fd::kTableColumns + 12] = 0;
    return table;
  }());
  refused("f: table: expected weights only of rows that have run", "[2,19]", with(4, 1));
  refused("f: table: expected weights only of rows that have run", "[2,19]", with(9, 1));
  refused("f: table: expected 1 to 100000 rows of 19, got [0,19]", "[0,19]", {});
  refused("f: table: expected 1 to 100000 rows of 19, got [19,2]", "[19,2]", plain_table(2));
  refused("f: table: expected 1 to 100000 rows of 19, got [100001,19]", "[100001,19]",
          plain_table(100001));
}

TEST(truncated_files_are_refused_at_every_length) {
  const std::string bytes = tiny();
  for (std::size_t length = 0; length < bytes.size(); length += length < 200 ? 1 : 13) {
    CHECK(!read_or_refused(bytes.substr(0, length)));
  }
  CHECK(!read_or_refused(bytes.substr(0, bytes.size() - 1)));
  CHECK(!read_or_refused(bytes + '\0'));
  const Parts parts(bytes);
  for (std::size_t length = 0; length < parts.meta.size(); length += 37) {
    CHECK(!read_or_refused(parts.with(parts.meta.substr(0, length))));
  }
}

TEST(flipped_bits_are_read_or_refused) {
  std::mt19937_64 random(1);  // its sequence is the same everywhere
  for (const std::string& bytes : {tiny(), small()}) {
    const Parts parts(bytes);
    int read_anyway = 0;
    for (int k = 0; k < 3000; ++k) {
      std::string flipped = bytes, meta = parts.meta;
      flipped[random() % flipped.size()] ^= static_cast<char>(1 << random() % 8);
      read_anyway += read_or_refused(flipped);
      meta[random() % meta.size()] ^= static_cast<char>(1 << random() % 8);
      read_anyway += read_or_refused(parts.with(meta));
    }
    CHECK(read_anyway > 100);  // weights and names may be any
  }
}

TEST(absurd_sizes_cost_neither_memory_nor_time) {
  // A chain of ops that each make the largest value there may be.
  const auto large = [](int nodes) {
    std::string values, list;
    for (int k = 0; k < nodes; ++k) {
      const std::string name = "v" + std::to_string(k);
      values += ",{\"name\":\"" + name + "\",\"dtype\":\"float32\",\"shape\":[-1,2,4,3]}";
      list += std::string(k > 0 ? "," : "") + "{\"op\":\"unary\",\"inputs\":[\"" +
              (k > 0 ? "v" + std::to_string(k - 1) : "x") + "\"],\"output\":\"" + name +
              "\",\"attributes\":{\"kind\":\"neg\"},\"epilogue\":[],\"path\":\"\"}";
    }
    std::string meta = small_meta();
    const std::size_t step = meta.find("\"step\":{"), end = meta.find("\"table\":{");
    meta.replace(step, end - step,
                 "\"step\":{\"name\":\"\",\"inputs\":[\"x\"],\"outputs\":[\"v" +
                     std::to_string(nodes - 1) +
                     "\"],\"values\":[{\"name\":\"x\",\"dtype\":\"float32\",\"shape\":[-1,2,4,3]}" +
                     values + "],\"nodes\":[" + list + "]}},");
    std::vector<TensorBytes> tensors = small_tensors();
    tensors.resize(2);
    return engine_bytes::file(meta, tensors);
  };
  CHECK_EQUAL(read(large(9997)).step.nodes.size(), 9997u);  // and three of the row
  CHECK_THROWS(fd::InvalidArgument, "f: programs: expected at most 10000 nodes", read(large(9998)));
  CHECK_THROWS(fd::InvalidArgument, "f: programs.step.nodes: expected at most 10000 nodes",
               read(large(10001)));
  const Parts parts(tiny());
  const std::string shape = "\"name\":\"v0\",\"dtype\":\"float32\",\"shape\":[-1,1]";
  for (const char* other : {"[-1,268435457]", "[-1,1e15]", "[-1,16384,16384,2]", "[-1,0]", "[-2,1]",
                            "[-1,1,1,1,1,1,1,1]", "[268435457]", "[-1,-1]", "[-1,1.5]", "{}"}) {
    const std::string to = "\"name\":\"v0\",\"dtype\":\"float32\",\"shape\":" + std::string(other);
    CHECK_THROWS(fd::InvalidArgument, "f: programs.row.values[",
                 read(parts.with(edited(parts.meta, shape, to))));
  }
}

TEST_MAIN
