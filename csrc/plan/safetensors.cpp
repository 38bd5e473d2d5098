#include "plan/safetensors.h"

#include <algorithm>

#include "core/error.h"
#include "plan/json_field.h"

namespace fd {
namespace {

constexpr std::int64_t kMaxOffset = std::int64_t{1} << 50;  // exact as a double

struct TypeName {
  const char* name;
  TensorType type;
  std::size_t bytes;
};
constexpr TypeName kTypes[] = {
    {"F32", TensorType::float32, 4},
    {"F64", TensorType::float64, 8},
    {"I64", TensorType::int64, 8},
};

const TypeName& type_of(const JsonField& dtype) {
  for (const TypeName& type : kTypes) {
    if (dtype.text() == type.name) return type;
  }
  dtype.fail("F32, F64 or I64");
}

// Where a tensor's bytes lie, to be put in order.
struct Range {
  std::size_t begin = 0, end = 0;
};

FileTensor read_tensor(const JsonField& entry, const std::string& name, const unsigned char* data,
                       std::size_t data_bytes, Range* range) {
  entry.check_keys({"dtype", "shape", "data_offsets"});
  FileTensor tensor;
  tensor.name = name;
  const TypeName& type = type_of(entry["dtype"]);
  tensor.type = type.type;
  const JsonField shape = entry["shape"];
  shape.array();
  for (std::size_t k = 0; k < shape.size(); ++k) {
    const std::int64_t size = shape.item(k).integer(0, kMaxOffset);
    if (size != 0 && tensor.count > data_bytes / static_cast<std::size_t>(size)) {
      shape.fail("no more elements than the file has bytes", std::to_string(size) + " and more");
    }
    tensor.count *= static_cast<std::size_t>(size);
    tensor.shape.push_back(size);
  }
  const JsonField offsets = entry["data_offsets"];
  offsets.array(2);
  const std::int64_t end = static_cast<std::int64_t>(data_bytes);
  range->begin = static_cast<std::size_t>(offsets.item(0).integer(0, end));
  range->end = static_cast<std::size_t>(
      offsets.item(1).integer(static_cast<std::int64_t>(range->begin), end));
  if ((range->end - range->begin) % type.bytes != 0 ||
      (range->end - range->begin) / type.bytes != tensor.count) {
    offsets.fail(
        std::to_string(tensor.count) + " elements of " + std::to_string(type.bytes) + " bytes",
        std::to_string(range->end - range->begin) + " bytes");
  }
  tensor.data = data + range->begin;
  return tensor;
}

// One after the other, from the first byte to the last.
void check_ranges(std::vector<Range> ranges, std::size_t data_bytes, const std::string& source) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::size_t at = 0;
  for (const Range& range : ranges) {
    if (range.begin != at) {
      fail_argument(source, "tensors without gap or overlap",
                    "one at byte " + std::to_string(range.begin) + " where another ends at " +
                        std::to_string(at));
    }
    at = range.end;
  }
  if (at != data_bytes) {
    fail_argument(source, std::to_string(at) + " bytes of tensors, as its header says",
                  std::to_string(data_bytes));
  }
}

}  // namespace

const std::string* Safetensors::find_metadata(const std::string& key) const {
  for (const auto& entry : metadata) {
    if (entry.first == key) return &entry.second;
  }
  return nullptr;
}

Safetensors read_safetensors(const void* bytes, std::size_t size, const std::string& source) {
  const unsigned char* begin = static_cast<const unsigned char*>(bytes);
  if (size < 8) {
    fail_argument(source, "a safetensors file", std::to_string(size) + " bytes");
  }
  std::uint64_t header_bytes = 0;
  for (int k = 7; k >= 0; --k) header_bytes = header_bytes << 8 | begin[k];
  if (header_bytes > size - 8) {
    fail_argument(source, "a whole safetensors file",
                  std::to_string(size) + " bytes with a header of " + std::to_string(header_bytes));
  }
  if (header_bytes > kMaxHeaderBytes) {
    fail_argument(source, "a header of at most " + std::to_string(kMaxHeaderBytes) + " bytes",
                  std::to_string(header_bytes));
  }
  const std::size_t length = static_cast<std::size_t>(header_bytes);
  const std::string_view text(reinterpret_cast<const char*>(begin) + 8, length);
  const Json header = parse_json(text, source + ": header");
  const unsigned char* data = begin + 8 + length;
  const std::size_t data_bytes = size - 8 - length;

  const JsonField root(header, source);
  if (header.kind != Json::Kind::object) root.fail("a header that is an object");
  Safetensors file;
  std::vector<Range> ranges;
  for (std::size_t k = 0; k < header.items.size(); ++k) {
    const std::string& key = header.keys[k];
    const JsonField entry(header.items[k], source,
                          key == "__metadata__" ? key : "tensor " + quoted(key));
    if (key == "__metadata__") {
      if (entry.json().kind != Json::Kind::object) entry.fail("an object");
      for (std::size_t m = 0; m < entry.size(); ++m) {
        file.metadata.emplace_back(entry.json().keys[m], entry.item(m).text());
      }
      continue;
    }
    Range range;
    file.tensors.push_back(read_tensor(entry, key, data, data_bytes, &range));
    ranges.push_back(range);
  }
  check_ranges(std::move(ranges), data_bytes, source);
  return file;
}

}  // namespace fd
