#include "plan/merge.h"

#include <algorithm>
#include <map>

namespace fd {
namespace {

std::vector<int> mapped(const std::vector<int>& values, const std::vector<int>& to) {
  std::vector<int> out;
  for (int value : values) out.push_back(value < 0 ? value : to[static_cast<std::size_t>(value)]);
  return out;
}

}  // namespace

Program merged(const Program& first, const Program& second) {
  Program program = first;
  program.name = second.name;
  // Names say which value is meant only where a program meets another: what is made inside, and
  // constants, may be called the same in both.
  std::map<std::string, int> known;
  for (const std::vector<int>* values : {&first.inputs, &first.outputs}) {
    for (int i : *values) known[first.values[static_cast<std::size_t>(i)].name] = i;
  }
  std::vector<int> to(second.values.size(), -1);
  for (int input : second.inputs) {
    const auto found = known.find(second.values[static_cast<std::size_t>(input)].name);
    if (found != known.end()) to[static_cast<std::size_t>(input)] = found->second;
  }
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (to[i] >= 0) continue;
    to[i] = static_cast<int>(program.values.size());
    program.values.push_back(second.values[i]);
  }
  for (Node node : second.nodes) {
    node.inputs = mapped(node.inputs, to);
    node.output = to[static_cast<std::size_t>(node.output)];
    program.nodes.push_back(node);
  }
  for (int input : mapped(second.inputs, to)) {
    const auto has = [&](const std::vector<int>& values) {
      return std::find(values.begin(), values.end(), input) != values.end();
    };
    if (!has(first.outputs) && !has(program.inputs)) program.inputs.push_back(input);
  }
  program.outputs = mapped(second.outputs, to);
  return program;
}

}  // namespace fd
