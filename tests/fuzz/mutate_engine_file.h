// A mutator for engine files. Mutations of the raw bytes alone would rarely get past the eight
// bytes of length and the JSON in a JSON string, so this takes a file apart, changes one of its
// texts, and puts it together again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/json.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

// A file as its header's text and the rest; false where there is no such header.
bool take_apart(const std::uint8_t* data, std::size_t size, std::string* header,
                std::string* tensors) {
  std::uint64_t length = 0;
  if (size < 8) return false;
  std::memcpy(&length, data, 8);
  if (length > size - 8) return false;
  const char* text = reinterpret_cast<const char*>(data) + 8;
  header->assign(text, length);
  tensors->assign(text + length, size - 8 - length);
  return true;
}

std::size_t put_together(const std::string& header, const std::string& tensors, std::uint8_t* data,
                         std::size_t max_size) {
  if (8 + header.size() + tensors.size() > max_size) return 0;
  const std::uint64_t length = header.size();
  std::memcpy(data, &length, 8);
  std::memcpy(data + 8, header.data(), header.size());
  std::copy(tensors.begin(), tensors.end(), data + 8 + header.size());
  return 8 + header.size() + tensors.size();
}

// Small and repeatable, from libFuzzer's seed.
struct Random {
  std::uint64_t state;
  std::size_t below(std::size_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>(state >> 33) % n;
  }
};

// The places of values in a JSON text: pieces that can be exchanged without leaving JSON.
void places(const fd::Json& json, std::vector<std::pair<std::size_t, std::size_t>>* out) {
  out->emplace_back(json.begin, json.end);
  for (const fd::Json& item : json.items) places(item, out);
}

// One value of a JSON text replaced: by another of the text, an odd one, or taken out.
std::string changed_value(const std::string& text, const fd::Json& json, Random* random) {
  static const char* const kOdd[] = {
      "0",     "1",      "-1",    "2",        "7",       "1.5",       "268435456", "65536",
      "65537", "1e15",   "-0",    "1e308",    "\"\"",    "[]",        "{}",        "null",
      "true",  "[-1,1]", "\"x\"", "\"mean\"", "\"mul\"", "\"int64\"", "2147483648"};
  std::vector<std::pair<std::size_t, std::size_t>> all;
  places(json, &all);
  const auto [begin, end] = all[random->below(all.size())];
  std::string to;
  if (random->below(2) == 0) {
    to = kOdd[random->below(sizeof kOdd / sizeof kOdd[0])];
  } else {
    const auto [other, other_end] = all[random->below(all.size())];
    // Large ones would make the text grow without end.
    to = other_end - other > 200 ? "0" : text.substr(other, other_end - other);
    if (random->below(4) == 0) to = text.substr(begin, end - begin) + "," + to;
  }
  return text.substr(0, begin) + to + text.substr(end);
}

}  // namespace

inline std::size_t mutate_engine_file(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                      unsigned seed) {
  Random random{seed * 2u + 1u};
  std::string header, tensors;
  const std::size_t kind = random.below(8);
  if (kind == 0 || !take_apart(data, size, &header, &tensors)) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  if (kind == 1) {
    tensors.resize(tensors.size() + 64);
    tensors.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(&tensors[0]),
                                    tensors.size() - 64, tensors.size()));
    return put_together(header, tensors, data, max_size);
  }
  try {
    const fd::Json json = fd::parse_json(header, "header");
    const fd::Json* metadata = json.find("__metadata__");
    const fd::Json* text = metadata == nullptr ? nullptr : metadata->find("fastdiff_engine");
    if (kind == 2 || text == nullptr) {
      header = changed_value(header, json, &random);
    } else {
      std::string meta = text->string;
      if (kind == 3) {
        meta.resize(meta.size() + 32);
        meta.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(&meta[0]), meta.size() - 32,
                                     meta.size()));
      } else {
        for (std::size_t times = 1 + random.below(3); times > 0; --times) {
          meta = changed_value(meta, fd::parse_json(meta, "meta"), &random);
        }
      }
      header.replace(text->begin, text->end - text->begin, fd::json_quote(meta));
    }
  } catch (const fd::InvalidArgument&) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  const std::size_t made = put_together(header, tensors, data, max_size);
  return made == 0 ? LLVMFuzzerMutate(data, size, max_size) : made;
}
