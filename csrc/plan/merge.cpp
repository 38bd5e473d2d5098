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
  std::map<std::string, int> known;
  for (std::size_t i = 0; i < first.values.size(); ++i) {
    known[first.values[i].name] = static_cast<int>(i);
  }
  std::vector<int> to;
  for (const Value& value : second.values) {
    const auto [at, fresh] = known.emplace(value.name, static_cast<int>(program.values.size()));
    if (fresh) program.values.push_back(value);
    to.push_back(at->second);
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
