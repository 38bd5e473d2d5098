#include "plan/engine_file.h"

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "core/error.h"
#include "ops/shape_rules.h"
#include "plan/read_program.h"

namespace fd {
namespace {

constexpr const char* kMetadataKey = "fastdiff_engine";
constexpr const char* kTableName = "table";
constexpr std::int64_t kMaxRows = 100000;
constexpr std::int64_t kMaxContext = 1 << 20;
constexpr std::int64_t kMaxLevels = 65536;

// Columns of a table that its checks speak of (samplers/table.py).
enum Column { kM = 2, kX = 6, kX0FromM = 12, kX0Lo = 13, kX0Hi = 14, kClampM = 15 };

// What is wrong with row k, or null.
const char* table_row_fault(const double* row, std::size_t k) {
  for (int column = 0; column < kTableColumns; ++column) {
    const bool bound = column == kX0Lo || column == kX0Hi;
    if (std::isnan(row[column]) || (!bound && !std::isfinite(row[column]))) {
      return "finite weights";
    }
  }
  if (row[kX0Lo] > row[kX0Hi]) return "x0_lo <= x0_hi";
  if (row[kClampM] != 0 && row[kClampM] != 1) return "clamp_m 0 or 1";
  if (row[kClampM] == 1 && row[kX0FromM] == 0) return "clamp_m only where x0_from_m is not 0";
  for (std::size_t back = k + 1; back < 4; ++back) {
    if (row[kM + back] != 0 || row[kX + back] != 0) return "weights only of rows that have run";
  }
  return nullptr;
}

void read_table(const Safetensors& tensors, const std::string& source, EngineFile* file) {
  const std::string name = source + ": table";
  const FileTensor* found = nullptr;
  for (const FileTensor& tensor : tensors.tensors) {
    if (tensor.name == kTableName) found = &tensor;
  }
  if (found == nullptr) fail_argument(name, "a tensor", "none");
  if (found->type != TensorType::float64) fail_argument(name, "float64", "another dtype");
  if (found->shape.size() != 2 || found->shape[1] != kTableColumns || found->shape[0] < 1 ||
      found->shape[0] > kMaxRows) {
    fail_argument(name, "1 to 100000 rows of 19", dims_text(found->shape));
  }
  file->table.resize(found->count);
  std::memcpy(file->table.data(), found->data, found->count * sizeof(double));
  for (std::size_t k = 0; k < file->table_rows(); ++k) {
    const char* fault = table_row_fault(&file->table[k * kTableColumns], k);
    if (fault != nullptr) fail_argument(name, fault, "others in row " + std::to_string(k));
  }
}

void check_format(const JsonField& root) {
  const JsonField format = root["format"];
  const std::int64_t number = format.integer(1, 1 << 30);
  if (number != kEngineFileFormat) {
    root.fail("engine file format " + std::to_string(kEngineFileFormat),
              std::to_string(number) + " (written by a newer fastdiff)");
  }
}

void read_labels(const JsonField& labels, EngineFile* file) {
  for (std::size_t k = 0; k < labels.array().size(); ++k) {
    file->labels.push_back(labels.item(k).text());
  }
  if (!file->labels.empty() &&
      file->labels.size() != static_cast<std::size_t>(file->context_width)) {
    labels.fail("none, or one for each of " + std::to_string(file->context_width) + " contexts");
  }
}

// A part of the file's programs, and which parts' outputs it may read: program/binding.py's READS.
struct Part {
  const char* name;
  Program EngineFile::* program;
  std::vector<int> reads;  // indices of parts
  bool x, t, context;
};

const std::array<Part, 4>& parts() {
  static const std::array<Part, 4> all = {{
      {"row", &EngineFile::row, {}, false, true, false},
      {"request", &EngineFile::request, {}, false, false, true},
      {"row_request", &EngineFile::row_request, {0, 1}, false, true, true},
      {"step", &EngineFile::step, {0, 1, 2}, true, true, true},
  }};
  return all;
}

// The inputs of every part: x, t, context, or what an earlier part makes, with the same shape.
void check_bindings(const JsonField& programs, const EngineFile& file) {
  struct Source {
    int part;  // -1: the caller
    std::vector<std::int64_t> shape;
    DType dtype;
  };
  std::map<std::string, Source> known;
  const std::int64_t* size = file.sample_shape;
  known[file.x] = {-1, {size[0], size[1], size[2]}, DType::float32};
  known[file.t] = {-1, {}, DType::float32};
  if (file.context_width > 0) known[file.context] = {-1, {file.context_width}, DType::float32};
  for (int p = 0; p < static_cast<int>(parts().size()); ++p) {
    const Part& part = parts()[static_cast<std::size_t>(p)];
    const Program& program = file.*part.program;
    const JsonField json = programs[part.name];
    for (std::size_t k = 0; k < program.inputs.size(); ++k) {
      const Value& value = program.values[static_cast<std::size_t>(program.inputs[k])];
      const auto source = known.find(value.name);
      bool may = source != known.end();
      if (may && source->second.part < 0) {
        may = (part.x && value.name == file.x) || (part.t && value.name == file.t) ||
              (part.context && value.name == file.context);
      } else if (may) {
        may = false;
        for (const int read : part.reads) may = may || read == source->second.part;
      }
      if (!may) json["inputs"].item(k).fail("what this part may read");
      if (source->second.shape != value.shape || source->second.dtype != value.dtype) {
        json["inputs"].item(k).fail(
            "the dtype of where it is made, and its shape [B]" + dims_text(source->second.shape),
            "[B]" + dims_text(value.shape));
      }
    }
    if (part.program == &EngineFile::step) break;
    for (std::size_t k = 0; k < program.outputs.size(); ++k) {
      const Value& value = program.values[static_cast<std::size_t>(program.outputs[k])];
      if (!known.emplace(value.name, Source{p, value.shape, value.dtype}).second) {
        json["outputs"].item(k).fail("a name that no other part uses");
      }
    }
  }
  const std::vector<int>& outputs = file.step.outputs;
  programs["step"]["outputs"].array(1);
  const Value& m = file.step.values[static_cast<std::size_t>(outputs[0])];
  std::vector<std::int64_t> expected = known[file.x].shape;
  if (file.levels > 0) expected.insert(expected.begin(), file.levels);
  if (m.shape != expected || m.dtype != DType::float32) {
    programs["step"]["outputs"].fail("a float32 value [B]" + dims_text(expected),
                                     "[B]" + dims_text(m.shape));
  }
}

void read_programs(const JsonField& root, Constants* constants, EngineFile* file) {
  const JsonField inputs = root["inputs"];
  inputs.check_keys({"x", "t", "context"});
  file->x = inputs["x"].text();
  file->t = inputs["t"].text();
  file->context = inputs["context"].text();
  if (file->x == file->t || file->x == file->context || file->t == file->context) {
    inputs.fail("three names", "one of them twice");
  }
  const JsonField programs = root["programs"];
  programs.check_keys({"row", "request", "row_request", "step"});
  std::size_t nodes = 0;
  for (const Part& part : parts()) {
    Program& program = file->*part.program;
    program = read_program(programs[part.name], constants);
    nodes += program.nodes.size();
    if (nodes > kMaxNodes) {
      programs.fail("at most " + std::to_string(kMaxNodes) + " nodes", "more");
    }
  }
  check_bindings(programs, *file);
}

// What takes the place of a table and a schedule.
void read_autoregressive(const JsonField& root, EngineFile* file) {
  const JsonField json = root["autoregressive"];
  for (const char* key : {"table", "schedule"}) {
    if (root.has(key)) root[key].fail("none in an autoregressive model's file", "one");
  }
  json.check_keys({"levels", "input_scale", "input_shift"});
  file->levels = static_cast<int>(json["levels"].integer(2, kMaxLevels));
  file->input_scale = json["input_scale"].finite();
  file->input_shift = json["input_shift"].finite();
}

void read_sampler(const JsonField& root, const Safetensors& tensors, const std::string& metadata,
                  const std::string& source, EngineFile* file) {
  const JsonField table = root["table"];
  table.check_keys({"name", "init_scale", "to_noise"});
  file->table_name = table["name"].text();
  file->init_scale = table["init_scale"].finite();
  file->to_noise = table["to_noise"].boolean();
  read_table(tensors, source, file);

  const JsonField schedule = root["schedule"];
  if (schedule.json().kind != Json::Kind::object) schedule.fail("an object");
  file->schedule =
      metadata.substr(schedule.json().begin, schedule.json().end - schedule.json().begin);
}

}  // namespace

EngineFile read_engine_file(const void* bytes, std::size_t size, const std::string& source) {
  const Safetensors tensors = read_safetensors(bytes, size, source);
  const std::string* metadata = tensors.find_metadata(kMetadataKey);
  if (metadata == nullptr) {
    fail_argument(source, "an engine file", "a safetensors file of something else");
  }
  const Json json = parse_json(*metadata, source + ": " + kMetadataKey);
  const JsonField root(json, source);
  check_format(root);  // first: a newer format may have other keys
  root.check_keys(
      {"format", "name", "sample_shape", "context_width", "labels", "inputs", "programs"},
      {"table", "schedule", "autoregressive"});

  EngineFile file;
  file.name = root["name"].text();
  const JsonField shape = root["sample_shape"];
  shape.array(3);
  Dims sample;
  for (std::size_t k = 0; k < 3; ++k) {
    file.sample_shape[k] = shape.item(k).integer(1, kMaxElements);
    sample.push_back(file.sample_shape[k]);
  }
  count_elements(shape.where(), sample);
  file.context_width = root["context_width"].integer(0, kMaxContext);
  read_labels(root["labels"], &file);

  if (root.has("autoregressive")) {
    read_autoregressive(root, &file);
  } else {
    read_sampler(root, tensors, *metadata, source, &file);
  }

  Constants constants(tensors, source);
  read_programs(root, &constants, &file);
  constants.check_all_used(file.levels > 0 ? "" : kTableName);
  if (file.levels > 0 && !(file.row.empty() && file.row_request.empty())) {
    root["programs"].fail("no parts but request and step in an autoregressive model's file",
                          "others");
  }
  file.owned = constants.take_owned();
  return file;
}

EngineFile read_engine_file(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    fail_argument(path, "an engine file", "no file");
  }
  if (error || status.type() != std::filesystem::file_type::regular) {
    fail_argument(path, "an engine file", error ? error.message() : "what is no regular file");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) fail_argument(path, "a readable file", std::strerror(errno));
  std::vector<char> bytes(static_cast<std::size_t>(std::filesystem::file_size(path, error)));
  if (error || !in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    fail_argument(path, "a readable file", "an error while reading it");
  }
  return read_engine_file(bytes.data(), bytes.size(), path);
}

}  // namespace fd
