// A fuzz target for engine files: any bytes are read, or refused with InvalidArgument in a sentence
// of its own; and what was read keeps every promise that planners rely on (plan/program.h), looked
// at here once more by other code.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "ops/shape_rules.h"
#include "plan/engine_file.h"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

volatile float touched;  // so that reads are not left out

void check_program(const fd::Program& program) {
  const int count = static_cast<int>(program.values.size());
  std::vector<bool> made(program.values.size());
  for (std::size_t k = 0; k < program.values.size(); ++k) {
    const fd::Value& value = program.values[k];
    std::int64_t elements = 1;
    require(value.shape.size() <= fd::kMaxDims, "rank");
    for (const std::int64_t size : value.shape) {
      require(size >= 1 && size <= fd::kMaxElements / elements, "size");
      elements *= size;
    }
    made[k] = value.constant != nullptr;
    if (!made[k]) continue;
    require(!value.batched && reinterpret_cast<std::uintptr_t>(value.constant) % 64 == 0, "array");
    for (std::int64_t e = 0; e < elements; ++e) touched = value.constant[e];
  }
  const auto make = [&](int value) {
    require(value >= 0 && value < count && !made[static_cast<std::size_t>(value)], "made once");
    require(program.values[static_cast<std::size_t>(value)].batched, "batched");
    made[static_cast<std::size_t>(value)] = true;
  };
  for (const int input : program.inputs) make(input);
  for (const fd::Node& node : program.nodes) {
    for (const int input : node.inputs) {
      require(input >= -1 && input < count, "input");
      require(input < 0 || made[static_cast<std::size_t>(input)], "made before");
    }
    for (const fd::NodeEpilogue& step : node.epilogue) {
      require(step.kind == fd::EpilogueStep::unary ||
                  (step.input > 0 && step.input < static_cast<int>(node.inputs.size()) &&
                   node.inputs[static_cast<std::size_t>(step.input)] >= 0),
              "operand");
    }
    make(node.output);
    require(node.stride[0] > 0 && node.kernel[1] > 0 && node.groups > 0 && node.step > 0, "window");
  }
  for (const int output : program.outputs) {
    require(output >= 0 && output < count && made[static_cast<std::size_t>(output)], "output");
  }
}

void check_file(const fd::EngineFile& file) {
  for (const fd::Program* part : {&file.row, &file.request, &file.row_request, &file.step}) {
    check_program(*part);
  }
  require(file.step.outputs.size() == 1, "one output");
  require(file.levels == 0 || file.levels >= 2, "levels");
  require(file.levels > 0 ? file.table.empty() && file.row.empty() && file.row_request.empty()
                          : file.table_rows() >= 1 && file.table.size() % fd::kTableColumns == 0,
          "table");
}

}  // namespace

#ifndef FD_REPLAY

#include "mutate_engine_file.h"

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  return mutate_engine_file(data, size, max_size, seed);
}

#endif  // FD_REPLAY

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    check_file(fd::read_engine_file(data, size, "f"));
  } catch (const fd::InvalidArgument& error) {
    const std::string message = error.what();
    require(message.rfind("f: ", 0) == 0, message.c_str());
    require(message.size() < 1000 && message.find('\n') == std::string::npos, "one sentence");
  }
  return 0;
}

#ifdef FD_REPLAY
int main(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    std::FILE* file = std::fopen(argv[k], "rb");
    require(file != nullptr, argv[k]);
    std::vector<std::uint8_t> bytes(std::size_t{1} << 20);
    bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file));
    std::fclose(file);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%d files\n", argc - 1);
}
#endif
