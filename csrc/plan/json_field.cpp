#include "plan/json_field.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/error.h"

namespace fd {
namespace {

// A value as an error message names it.
std::string description(const Json& json) {
  switch (json.kind) {
    case Json::Kind::null:
      return "null";
    case Json::Kind::boolean:
      return json.boolean ? "true" : "false";
    case Json::Kind::number: {
      char text[32];
      std::snprintf(text, sizeof text, "%.15g", json.number);
      return text;
    }
    case Json::Kind::string:
      return quoted(json.string);
    case Json::Kind::array:
      return "an array of " + std::to_string(json.items.size());
    case Json::Kind::object:
      return "an object";
  }
  return "?";
}

bool contains(std::initializer_list<const char*> keys, const std::string& key) {
  return std::any_of(keys.begin(), keys.end(), [&](const char* k) { return key == k; });
}

}  // namespace

void JsonField::check_keys(std::initializer_list<const char*> required,
                           std::initializer_list<const char*> optional) const {
  if (json_->kind != Json::Kind::object) fail("an object");
  for (const char* key : required) {
    if (!has(key)) fail("the key " + quoted(key), "an object without it");
  }
  for (const std::string& key : json_->keys) {
    if (!contains(required, key) && !contains(optional, key)) {
      fail("no key but those of this format", quoted(key));
    }
  }
}

bool JsonField::has(const char* key) const { return json_->find(key) != nullptr; }

JsonField JsonField::operator[](const char* key) const {
  const Json* found = json_->find(key);
  if (found == nullptr) fail("an object with the key " + quoted(key));
  return {*found, *source_, place_.empty() ? key : place_ + "." + key};
}

JsonField JsonField::item(std::size_t index) const {
  return {json_->items[index], *source_, place_ + "[" + std::to_string(index) + "]"};
}

const JsonField& JsonField::array() const {
  if (json_->kind != Json::Kind::array) fail("an array");
  return *this;
}

const JsonField& JsonField::array(std::size_t size) const {
  if (json_->kind != Json::Kind::array || json_->items.size() != size) {
    fail("an array of " + std::to_string(size));
  }
  return *this;
}

const std::string& JsonField::text() const {
  if (json_->kind != Json::Kind::string) fail("a string");
  return json_->string;
}

bool JsonField::boolean() const {
  if (json_->kind != Json::Kind::boolean) fail("true or false");
  return json_->boolean;
}

double JsonField::finite() const {
  if (json_->kind != Json::Kind::number) fail("a number");
  return json_->number;  // JSON has no infinities
}

std::int64_t JsonField::integer(std::int64_t lo, std::int64_t hi) const {
  const double number = json_->number;
  if (json_->kind != Json::Kind::number || number != std::floor(number) ||
      number < static_cast<double>(lo) || number > static_cast<double>(hi)) {
    fail("a whole number from " + std::to_string(lo) + " to " + std::to_string(hi));
  }
  return static_cast<std::int64_t>(number);
}

void JsonField::fail(const std::string& expected, const std::string& got) const {
  fail_argument(where(), expected, got);
}

void JsonField::fail(const std::string& expected) const { fail(expected, description(*json_)); }

std::string JsonField::where() const {
  return place_.empty() ? *source_ : *source_ + ": " + place_;
}

}  // namespace fd
