// A strict reader of JSON (RFC 8259) for texts that may be damaged or hostile: UTF-8 alone, one
// value and nothing behind it, no key twice, bounded depth and number of values. Numbers are read
// as doubles, the same under every locale. Memory: about 110 bytes a value beside the strings,
// twice that while an array grows. There is none in the standard library, and a wheel is built from
// PyPI alone: these few lines are less to carry than a copy of somebody's.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fd {

struct Json {
  enum class Kind : unsigned char { null, boolean, number, string, array, object };

  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string string;              // UTF-8, escapes resolved
  std::vector<std::string> keys;   // of an object: as many as items
  std::vector<Json> items;         // of an array or an object
  std::size_t begin = 0, end = 0;  // its text is text[begin, end)

  // The value under a key of an object, or null.
  const Json* find(std::string_view key) const;
};

struct JsonLimits {
  int depth = 32;
  std::size_t values = std::size_t{1} << 20;
};

// InvalidArgument that begins with `name` and says at which byte, where `text` is no such JSON.
Json parse_json(std::string_view text, const std::string& name, const JsonLimits& limits = {});

// A string as JSON has it, in quotes.
std::string json_quote(std::string_view text);

// A string for an error message: in quotes, on one line, not longer than a name should be.
std::string quoted(std::string_view text);

}  // namespace fd
