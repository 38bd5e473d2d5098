// Engine files for tests, put together from their JSON and tensors: a small one, the golden one,
// and either with its JSON edited.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/json.h"
#include "plan/engine_file.h"
#include "plan/safetensors.h"

namespace engine_bytes {

struct TensorBytes {
  std::string name, dtype, shape;  // shape as JSON
  std::string data;
};

template <class T>
TensorBytes tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::vector<T>& values) {
  TensorBytes out = {name, dtype, shape, std::string(values.size() * sizeof(T), '\0')};
  if (!values.empty()) std::memcpy(&out.data[0], values.data(), out.data.size());
  return out;
}

// Header and data as a safetensors file, whatever they hold.
inline std::string safetensors(const std::string& header, const std::string& data) {
  std::string out;
  for (int k = 0; k < 8; ++k) {
    out += static_cast<char>(static_cast<std::uint64_t>(header.size()) >> 8 * k & 0xFF);
  }
  return out + header + data;
}

inline std::string file(const std::string& meta, const std::vector<TensorBytes>& tensors) {
  std::string header = "{\"__metadata__\":{\"fastdiff_engine\":" + fd::json_quote(meta) + "}";
  std::string data;
  for (const TensorBytes& t : tensors) {
    header += "," + fd::json_quote(t.name) + ":{\"dtype\":\"" + t.dtype +
              "\",\"shape\":" + t.shape + ",\"data_offsets\":[" + std::to_string(data.size()) + ",";
    data += t.data;
    header += std::to_string(data.size()) + "]}";
  }
  return safetensors(header + "}", data);
}

// `text` with its first `from` as `to`; "" where it has none, which no reader takes.
inline std::string edited(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  return at == std::string::npos ? "" : text.replace(at, from.size(), to);
}

inline fd::EngineFile read(const std::string& bytes) {
  // A copy of exactly this size: a sanitizer then sees every byte read beyond it.
  const std::vector<char> copy(bytes.begin(), bytes.end());
  return fd::read_engine_file(copy.data(), copy.size(), "f");
}

// One row that is x_T and nothing else.
inline std::vector<double> plain_table(std::size_t rows = 1) {
  std::vector<double> table(rows * fd::kTableColumns, 0.0);
  for (std::size_t k = 0; k < rows; ++k) {
    double* row = &table[k * fd::kTableColumns];
    row[1] = row[6] = row[12] = 1;
    row[13] = -std::numeric_limits<double>::infinity();
    row[14] = std::numeric_limits<double>::infinity();
  }
  return table;
}

// A 1x1 convolution of x, plus an embedding of t made once a row.
inline std::string small_meta() {
  return R"({"format":1,"name":"small","sample_shape":[2,4,3],"context_width":0,"labels":[],
"inputs":{"x":"x","t":"t","context":"context"},
"programs":{
"row":{"name":"small, row","inputs":["t"],"outputs":["e"],
 "values":[{"name":"t","dtype":"float32","shape":[-1]},
  {"name":"i","dtype":"int64","shape":[-1]},
  {"name":"table","dtype":"float32","shape":[3,2],"tensor":"places"},
  {"name":"p","dtype":"float32","shape":[-1,2]},
  {"name":"e","dtype":"float32","shape":[-1,2,1,1]}],
 "nodes":[{"op":"cast","inputs":["t"],"output":"i","attributes":{"dtype":"int64"},"epilogue":[],
   "path":""},
  {"op":"embedding","inputs":["table","i"],"output":"p","attributes":{},"epilogue":[],"path":""},
  {"op":"reshape","inputs":["p"],"output":"e","attributes":{"shape":[-1,2,1,1]},"epilogue":[],
   "path":""}]},
"request":{"name":"","inputs":[],"outputs":[],"values":[],"nodes":[]},
"row_request":{"name":"","inputs":[],"outputs":[],"values":[],"nodes":[]},
"step":{"name":"small","inputs":["x","e"],"outputs":["m"],
 "values":[{"name":"x","dtype":"float32","shape":[-1,2,4,3]},
  {"name":"e","dtype":"float32","shape":[-1,2,1,1]},
  {"name":"w","dtype":"float32","shape":[2,2,1,1],"tensor":"w"},
  {"name":"n","dtype":"int64","shape":[],"tensor":"n"},
  {"name":"m","dtype":"float32","shape":[-1,2,4,3]}],
 "nodes":[{"op":"conv2d","inputs":["x","w","","e"],"output":"m","attributes":{"stride":[1,1],
   "padding":[0,0],"dilation":[1,1],"groups":1},"epilogue":[["unary","gelu"],["add",3]],
   "path":"net.conv"}]}},
"table":{"name":"plain","init_scale":1.5,"to_noise":true},"schedule":{"kind": "course", "T":500}})";
}

inline std::vector<TensorBytes> small_tensors() {
  return {
      tensor<double>("table", "F64", "[1,19]", plain_table()),
      tensor<float>("places", "F32", "[3,2]", {1, 2, 3, 4, 5, 6}),
      tensor<float>("w", "F32", "[2,2,1,1]", {1, 0.5f, -0.25f, 8}),
      tensor<std::int64_t>("n", "I64", "[]", {std::int64_t{1} << 40}),
  };
}

inline std::string small() { return file(small_meta(), small_tensors()); }

inline std::string file_content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline std::string tiny() { return file_content(FASTDIFF_GOLDEN_DIR "/tiny.fdiff"); }

// A file taken apart, so that its metadata can be edited and put back.
struct Parts {
  std::string meta, header, data;  // header: from the first tensor's key on

  explicit Parts(const std::string& bytes) {
    meta = *fd::read_safetensors(bytes.data(), bytes.size(), "f").find_metadata("fastdiff_engine");
    std::size_t length = 0;
    for (int k = 7; k >= 0; --k)
      length = length << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(k)]);
    const std::string text = bytes.substr(8, length);
    const fd::Json json = fd::parse_json(text, "f");
    header = text.substr(json.items[0].end);
    data = bytes.substr(8 + length);
  }
  std::string with(const std::string& text) const {
    return safetensors(
        "{\"__metadata__\":{\"fastdiff_engine\":" + fd::json_quote(text) + "}" + header, data);
  }
};

// Reads, or is refused as it should be. True where it was read.
inline bool read_or_refused(const std::string& bytes) {
  try {
    read(bytes);
    return true;
  } catch (const fd::InvalidArgument& error) {
    const std::string message = error.what();
    const bool sentence = message.rfind("f: ", 0) == 0 && message.find('\n') == std::string::npos &&
                          check::contains(message, "expected ") && message.size() < 400;
    if (!sentence) check::report(__FILE__, __LINE__, "message: " + message);
    return false;
  }
}

}  // namespace engine_bytes
