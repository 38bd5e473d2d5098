#include "plan/read_program.h"

#include <cmath>
#include <cstring>
#include <new>

#include "core/error.h"
#include "ops/shape_rules.h"

namespace fd {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

std::shared_ptr<float> allocate(std::size_t count) {
  const auto alignment = std::align_val_t(kAlignment);
  void* memory = ::operator new((count + 1) * sizeof(float), alignment);
  return {static_cast<float*>(memory), [=](float* p) { ::operator delete(p, alignment); }};
}

void convert(const JsonField& name, const FileTensor& tensor, float* out) {
  if (tensor.type == TensorType::float32) {
    if (tensor.count > 0) std::memcpy(out, tensor.data, tensor.count * sizeof(float));
    for (std::size_t k = 0; k < tensor.count; ++k) {
      // Infinities are what masks are made of.
      if (std::isnan(out[k])) name.fail("a tensor of numbers", "nan in " + quoted(tensor.name));
    }
    return;
  }
  for (std::size_t k = 0; k < tensor.count; ++k) {
    std::int64_t whole = 0;
    std::memcpy(&whole, tensor.data + k * sizeof whole, sizeof whole);
    out[k] = static_cast<float>(whole);
    // 2^63 is beyond int64, and the cast back would not be defined.
    if (out[k] >= 0x1p63f || static_cast<std::int64_t>(out[k]) != whole) {
      name.fail("integers that float32 holds exactly", std::to_string(whole));
    }
  }
}

DType read_dtype(const JsonField& dtype) {
  if (dtype.text() == "float32") return DType::float32;
  if (dtype.text() != "int64") dtype.fail("float32 or int64");
  return DType::int64;
}

Value read_value(const JsonField& json, Constants* constants) {
  json.check_keys({"name", "dtype", "shape"}, {"tensor"});
  Value value;
  value.name = json["name"].text();
  if (value.name.empty()) json["name"].fail("a name");
  value.dtype = read_dtype(json["dtype"]);
  const JsonField shape = json["shape"];
  for (std::size_t k = 0; k < shape.array().size(); ++k) {
    value.shape.push_back(shape.item(k).integer(kBatch, kMaxElements));
  }
  count_elements(shape.where(), value.shape);
  value.batched = is_batched(value.shape);
  if (value.batched) value.shape.erase(value.shape.begin());
  if (json.has("tensor")) {
    const Constants::Array array = constants->find(json["tensor"]);
    const bool is_int64 = array.tensor->type == TensorType::int64;
    if (value.batched || array.tensor->shape != value.shape ||
        is_int64 != (value.dtype == DType::int64)) {
      json["tensor"].fail("one of the value's dtype and shape " + dims_text(value.shape),
                          dims_text(array.tensor->shape));
    }
    value.constant = array.data;
  }
  return value;
}

class ProgramReader {
 public:
  ProgramReader(const JsonField& json, Constants* constants) : json_(json), constants_(constants) {}

  Program read() {
    json_.check_keys({"name", "inputs", "outputs", "values", "nodes"});
    program_.name = json_["name"].text();
    read_values();
    const JsonField inputs = json_["inputs"];
    for (std::size_t k = 0; k < inputs.array().size(); ++k) {
      const JsonField name = inputs.item(k);
      const int value = find(name);
      make(name, value);
      program_.inputs.push_back(value);
    }
    const JsonField nodes = json_["nodes"];
    if (nodes.array().size() > kMaxNodes) {
      nodes.fail("at most " + std::to_string(kMaxNodes) + " nodes");
    }
    for (std::size_t k = 0; k < nodes.size(); ++k) read_node(nodes.item(k));
    read_outputs();
    for (std::size_t k = 0; k < made_.size(); ++k) {
      if (made_[k] == Made::never) {
        json_["values"].item(k).fail("a value that is made", quoted(program_.values[k].name));
      }
    }
    return std::move(program_);
  }

 private:
  enum class Made : char { never, constant, input, node, output };

  void read_values() {
    const JsonField values = json_["values"];
    for (std::size_t k = 0; k < values.array().size(); ++k) {
      const JsonField json = values.item(k);
      program_.values.push_back(read_value(json, constants_));
      const Value& value = program_.values.back();
      if (!index_.emplace(value.name, static_cast<int>(k)).second) {
        json["name"].fail("every value once", quoted(value.name) + " again");
      }
      made_.push_back(value.constant != nullptr ? Made::constant : Made::never);
    }
  }

  int find(const JsonField& name) const {
    const auto found = index_.find(name.text());
    if (found == index_.end()) name.fail("one of the values");
    return found->second;
  }

  Made& made(int value) { return made_[static_cast<std::size_t>(value)]; }

  // `name` names an input or a node's output: made here for the first time, a value for each
  // sample.
  void make(const JsonField& name, int value, Made how = Made::input) {
    if (made(value) != Made::never) name.fail("a value that is not made before");
    if (!program_.values[static_cast<std::size_t>(value)].batched) {
      name.fail("a value whose first dimension is the batch");
    }
    made(value) = how;
  }

  void read_node(const JsonField& json) {
    json.check_keys({"op", "inputs", "output", "attributes", "epilogue", "path"});
    Node node;
    if (!parse_op(json["op"].text(), &node.op)) json["op"].fail("an op of the engine's list");
    const JsonField inputs = json["inputs"];
    for (std::size_t k = 0; k < inputs.array().size(); ++k) {
      const JsonField name = inputs.item(k);
      const int value = name.text().empty() ? -1 : find(name);
      if (value >= 0 && made(value) == Made::never) name.fail("a value that is made before");
      node.inputs.push_back(value);
    }
    node.output = find(json["output"]);
    std::vector<std::int64_t> shape;
    read_attributes(json["attributes"], &node, &shape);
    read_epilogue(json["epilogue"], &node);
    node.path = json["path"].text();
    try {
      check_node(program_, node, shape);
    } catch (const InvalidArgument& error) {
      const Value& output = program_.values[static_cast<std::size_t>(node.output)];
      throw InvalidArgument(json.where() + ", " + op_name(node.op) + " " + quoted(output.name) +
                            ", " + error.what());
    }
    make(json["output"], node.output, Made::node);
    program_.nodes.push_back(std::move(node));
  }

  void read_epilogue(const JsonField& steps, Node* node) const {
    if (steps.array().size() > static_cast<std::size_t>(kMaxEpilogue)) {
      steps.fail("at most " + std::to_string(kMaxEpilogue) + " steps");
    }
    for (std::size_t k = 0; k < steps.size(); ++k) {
      const JsonField json = steps.item(k);
      const std::string& kind = json.array(2).item(0).text();
      NodeEpilogue step;
      if (kind == "unary") {
        if (!parse_unary(json.item(1).text(), &step.function)) json.item(1).fail("a function");
      } else if (kind == "add" || kind == "mul") {
        step.kind = kind == "add" ? EpilogueStep::add : EpilogueStep::mul;
        step.input = static_cast<int>(json.item(1).integer(0, 1 << 20));
      } else {
        json.item(0).fail("unary, add or mul");
      }
      node->epilogue.push_back(step);
    }
  }

  void read_outputs() {
    const JsonField outputs = json_["outputs"];
    for (std::size_t k = 0; k < outputs.array().size(); ++k) {
      const JsonField name = outputs.item(k);
      const int value = find(name);
      if (made(value) != Made::node) name.fail("a value that a node makes, once");
      made(value) = Made::output;
      program_.outputs.push_back(value);
    }
  }

  const JsonField& json_;
  Constants* const constants_;
  Program program_;
  std::map<std::string, int> index_;
  std::vector<Made> made_;
};

}  // namespace

Constants::Constants(const Safetensors& file, const std::string& source) : source_(source) {
  for (const FileTensor& tensor : file.tensors) arrays_[tensor.name].tensor = &tensor;
}

Constants::Array Constants::find(const JsonField& name) {
  const auto found = arrays_.find(name.text());
  if (found == arrays_.end()) name.fail("a tensor of the file");
  Array& array = found->second;
  if (array.data == nullptr) {
    if (array.tensor->type == TensorType::float64) name.fail("float32 or int64", "float64");
    std::shared_ptr<float> data = allocate(array.tensor->count);
    convert(name, *array.tensor, data.get());
    array.data = data.get();
    owned_.push_back(std::move(data));
  }
  return array;
}

void Constants::check_all_used(const std::string& except) const {
  for (const auto& [name, array] : arrays_) {
    if (array.data == nullptr && name != except) {
      fail_argument(source_, "no tensors but those that a program reads", quoted(name));
    }
  }
}

Program read_program(const JsonField& json, Constants* constants) {
  return ProgramReader(json, constants).read();
}

}  // namespace fd
