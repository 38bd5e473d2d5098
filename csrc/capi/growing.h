// Structs that begin with `size` and grow at their end: ours and the caller's may differ in length.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "core/error.h"

namespace fd {

// `given->size`, checked. `first_size`: that of the struct's first version.
template <class Struct>
std::size_t known_size(const char* name, const Struct* given, std::size_t first_size) {
  if (given == nullptr) fail_argument(name, "a pointer to a struct", "null");
  if (given->size < first_size) {
    fail_argument(std::string(name) + ".size",
                  "the struct's sizeof, at least " + std::to_string(first_size),
                  std::to_string(given->size));
  }
  return given->size;
}

// The caller's struct as this version knows it: fields that the caller doesn't know are zero. One
// that is longer than ours comes from a newer header, and may only hold zeros beyond what we know.
template <class Struct>
Struct known_part(const char* name, const Struct* given, std::size_t first_size) {
  const std::size_t size = known_size(name, given, first_size);
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof(Struct); i < size; ++i) {
    if (bytes[i] != 0) {
      fail_argument(std::string(name) + ".size",
                    "zeros beyond the " + std::to_string(sizeof(Struct)) +
                        " bytes that fastdiff " FASTDIFF_VERSION " knows",
                    "a value at byte " + std::to_string(i));
    }
  }
  Struct known{};
  std::memcpy(&known, given, std::min(size, sizeof(Struct)));
  return known;
}

}  // namespace fd
