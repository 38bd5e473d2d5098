// An engine file (docs/architecture.md): what a model needs to be sampled from, in one safetensors
// file. Reading it is the border that no damaged, truncated or hostile file crosses.
//
// The metadata key "fastdiff_engine" holds JSON (fastdiff/program/engine_file.py writes it):
//   {"format": 1, "name", "sample_shape": [C,H,W], "context_width", "labels": [...],
//    "inputs": {"x", "t", "context"}, "programs": {"row", "request", "row_request", "step"},
//    "table": {"name", "init_scale", "to_noise"}, "schedule": {...}}
// a program is {"name", "inputs": [...], "outputs": [...],
//    "values": [{"name", "dtype", "shape", "tensor" of a constant}],  -1 in a shape: the batch
//    "nodes": [{"op", "inputs", "output", "attributes", "epilogue", "path"}]}
// The tensors are the programs' constants, float32 or int64, and "table", float64 [rows, 19].
// An autoregressive model has, in place of "table" (JSON and tensor) and "schedule",
//    "autoregressive": {"levels", "input_scale", "input_shift"}
// and no programs but "request" and "step", whose output is logits [levels, C, H, W].
// Memory while reading: the file, its constants once more, and at most some 200 MB for the JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plan/program.h"

namespace fd {

constexpr int kEngineFileFormat = 1;
constexpr int kTableColumns = 19;

struct EngineFile {
  std::string name;                          // the model's
  std::int64_t sample_shape[3] = {0, 0, 0};  // C, H, W
  std::int64_t context_width = 0;            // 0: the model takes no context
  std::vector<std::string> labels;           // of one-hot contexts, or empty
  // By binding time (fastdiff/program/binding.py); a part without nodes has no outputs. Values that
  // one part makes and another reads have the same name in both. x, t, context: the inputs' names.
  Program row, request, row_request, step;
  std::string x, t, context;
  // The default sampler table (samplers/table.py), [rows, 19] row-major.
  std::string table_name;
  std::vector<double> table;
  double init_scale = 1;
  bool to_noise = false;  // the rows lead from an image to noise
  std::string schedule;   // JSON text, as checkpoints have it; kept for people

  // Of an autoregressive model, which has no table: a pixel's levels, 0 for all others, and what
  // the network sees of one, level * input_scale + input_shift.
  int levels = 0;
  double input_scale = 1, input_shift = 0;

  // What the constants point into.
  std::vector<std::shared_ptr<const void>> owned;

  std::size_t table_rows() const { return table.size() / kTableColumns; }
};

// The file's content; `bytes` may go away afterwards. InvalidArgument in one sentence that begins
// with `source` (a path, for people) where it is not an engine file that this version can read.
EngineFile read_engine_file(const void* bytes, std::size_t size, const std::string& source);
EngineFile read_engine_file(const std::string& path);

}  // namespace fd
