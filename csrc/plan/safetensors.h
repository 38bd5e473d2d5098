// Safetensors files: eight bytes n (little-endian), n bytes of JSON, then the tensors' bytes.
//   {"__metadata__": {key: text}, name: {"dtype", "shape", "data_offsets": [begin, end]}, ...}
// Offsets count from the header's end. As the format demands, the tensors cover the rest of the
// file without gap or overlap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fd {

enum class TensorType : int { float32, float64, int64 };  // what engine files hold, and no other

struct FileTensor {
  std::string name;
  TensorType type = TensorType::float32;
  std::vector<std::int64_t> shape;
  std::size_t count = 1;                // of elements
  const unsigned char* data = nullptr;  // not aligned
};

struct Safetensors {
  std::vector<FileTensor> tensors;  // as the header lists them
  std::vector<std::pair<std::string, std::string>> metadata;

  const std::string* find_metadata(const std::string& key) const;
};

constexpr std::size_t kMaxHeaderBytes = std::size_t{16} << 20;

// The tensors point into `bytes`. InvalidArgument that begins with `source` for anything else.
Safetensors read_safetensors(const void* bytes, std::size_t size, const std::string& source);

}  // namespace fd
