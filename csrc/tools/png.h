// PNG files without zlib: the pixels stand in stored deflate blocks, uncompressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fd::run {

// The bytes of a PNG file (ISO/IEC 15948) of an RGB picture: `pixels` uint8 [height, width, 3].
std::vector<std::uint8_t> png(const std::vector<std::uint8_t>& pixels, std::uint32_t width,
                              std::uint32_t height);

}  // namespace fd::run
