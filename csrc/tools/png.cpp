#include "tools/png.h"

#include <algorithm>
#include <array>

namespace fd::run {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kStoredBytes = 65535;  // what one stored block holds at most

std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t n = 0; n < 256; ++n) {
    std::uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) ? 0xEDB88320u ^ (c >> 1) : c >> 1;
    table[n] = c;
  }
  return table;
}

std::uint32_t crc32(const std::uint8_t* data, std::size_t size) {
  static const std::array<std::uint32_t, 256> table = crc_table();
  std::uint32_t c = 0xFFFFFFFFu;
  for (std::size_t i = 0; i < size; ++i) c = table[(c ^ data[i]) & 0xFF] ^ (c >> 8);
  return c ^ 0xFFFFFFFFu;
}

std::uint32_t adler32(const Bytes& data) {
  std::uint32_t a = 1, b = 0;
  for (std::size_t i = 0; i < data.size();) {
    // 5552 bytes are the most that cannot overflow 32 bits before the remainder is taken.
    const std::size_t stop = std::min(data.size(), i + 5552);
    for (; i < stop; ++i) {
      a += data[i];
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return b << 16 | a;
}

void put_big_endian(Bytes* out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    out->push_back(static_cast<std::uint8_t>(value >> shift));
  }
}

void put_chunk(Bytes* out, const char* type, const Bytes& data) {
  put_big_endian(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = out->size();  // the checksum is of type and data
  out->insert(out->end(), type, type + 4);
  out->insert(out->end(), data.begin(), data.end());
  put_big_endian(out, crc32(out->data() + begin, out->size() - begin));
}

// One stored block: last?, then the length and its complement, low byte first.
void put_stored(Bytes* out, const std::uint8_t* data, std::size_t size, bool last) {
  const auto low = static_cast<std::uint8_t>(size), high = static_cast<std::uint8_t>(size >> 8);
  for (int value : {last ? 1 : 0, +low, +high, ~low, ~high}) {
    out->push_back(static_cast<std::uint8_t>(value));
  }
  out->insert(out->end(), data, data + size);
}

}  // namespace

std::vector<std::uint8_t> png(const std::vector<std::uint8_t>& pixels, std::uint32_t width,
                              std::uint32_t height) {
  const std::size_t line = std::size_t{width} * 3;
  Bytes lines;  // every line begins with the number of its filter: 0, none
  lines.reserve((line + 1) * height);
  for (std::size_t y = 0; y < height; ++y) {
    lines.push_back(0);
    const auto from = pixels.begin() + static_cast<std::ptrdiff_t>(y * line);
    lines.insert(lines.end(), from, from + static_cast<std::ptrdiff_t>(line));
  }

  Bytes out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  Bytes header;
  put_big_endian(&header, width);
  put_big_endian(&header, height);
  header.insert(header.end(), {8, 2, 0, 0, 0});  // 8 bits, RGB, deflate, filters, not interlaced
  put_chunk(&out, "IHDR", header);
  // A chunk a block: a decoder joins them, and no chunk comes near its limit of 2 GiB.
  for (std::size_t at = 0; at < lines.size(); at += kStoredBytes) {
    const std::size_t size = std::min(kStoredBytes, lines.size() - at);
    const bool last = at + size == lines.size();
    Bytes data;
    if (at == 0) data = {0x78, 0x01};  // zlib: deflate, window of 32 KiB, fastest
    put_stored(&data, lines.data() + at, size, last);
    if (last) put_big_endian(&data, adler32(lines));
    put_chunk(&out, "IDAT", data);
  }
  put_chunk(&out, "IEND", {});
  return out;
}

}  // namespace fd::run
