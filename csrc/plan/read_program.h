// A program out of an engine file's JSON, checked in full.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plan/json_field.h"
#include "plan/program.h"
#include "plan/safetensors.h"

namespace fd {

constexpr std::size_t kMaxNodes = 10000;  // of a file

// The file's tensors as the float32 arrays that kernels read: each converted once, when first asked
// for, 64-byte aligned.
class Constants {
 public:
  Constants(const Safetensors& file, const std::string& source);

  struct Array {
    const FileTensor* tensor = nullptr;
    const float* data = nullptr;
  };
  // Of the tensor that `name` names; refuses what is none, NaN, and integers that float32 rounds.
  Array find(const JsonField& name);
  // Refuses tensors that nobody asked for, but for `except`.
  void check_all_used(const std::string& except) const;
  std::vector<std::shared_ptr<const void>> take_owned() { return std::move(owned_); }

 private:
  const std::string& source_;
  std::map<std::string, Array> arrays_;
  std::vector<std::shared_ptr<const void>> owned_;
};

// All of Program's promises but those about other parts: where inputs come from is checked by
// read_engine_file.
Program read_program(const JsonField& json, Constants* constants);

// The parts of it, in files of their own.
// The attributes of an op, in the ranges of ops/shape_rules.h. `shape`: of reshape and broadcast.
void read_attributes(const JsonField& attributes, Node* node, std::vector<std::int64_t>* shape);
// Own inputs without the epilogue's: InvalidArgument where their number, dtypes, or shapes are not
// what the op takes, or its output is not what it makes of them.
void check_node(const Program& program, const Node& node, const std::vector<std::int64_t>& shape);
// How many of the node's inputs are not its epilogue's.
std::size_t own_inputs(const Node& node);

}  // namespace fd
