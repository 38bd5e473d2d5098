// A value somewhere in a JSON text, with the place it was found at: reads that check, and whose
// errors say "file: programs.step.nodes[3].attributes.groups: expected ..., got ...".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/json.h"

namespace fd {

class JsonField {
 public:
  // `json` and `source` (the file, for people) are borrowed.
  JsonField(const Json& json, const std::string& source, std::string place = "")
      : json_(&json), source_(&source), place_(std::move(place)) {}

  const Json& json() const { return *json_; }

  // Refuses what is no object, lacks one of these keys, or has another.
  void check_keys(std::initializer_list<const char*> required,
                  std::initializer_list<const char*> optional = {}) const;
  bool has(const char* key) const;

  JsonField operator[](const char* key) const;  // of an object
  JsonField item(std::size_t index) const;      // of an array or object
  std::size_t size() const { return json_->items.size(); }
  const JsonField& array() const;  // this, refused where it is no array
  const JsonField& array(std::size_t size) const;

  const std::string& text() const;
  bool boolean() const;
  double finite() const;
  std::int64_t integer(std::int64_t lo, std::int64_t hi) const;

  [[noreturn]] void fail(const std::string& expected, const std::string& got) const;
  [[noreturn]] void fail(const std::string& expected) const;  // "got" is the value itself
  std::string where() const;  // "file: place", to begin a sentence with

 private:
  const Json* json_;
  const std::string* source_;
  std::string place_;
};

}  // namespace fd
