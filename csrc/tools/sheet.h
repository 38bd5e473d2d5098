// Many images on one white sheet, laid out as fastdiff/data/pictures.py does, without names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fd::run {

struct Sheet {
  std::size_t width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]
};

struct SheetImages {
  const std::uint8_t* pixels;              // [n, height, width, channels]
  std::size_t n, height, width, channels;  // 1 or 3 channels
};

// `groups`: how many images follow one another in each group; each begins a new row. Empty: one
// group. `columns` 0: 8 in a row, with groups the largest one's size up to 16. Every pixel becomes
// scale x scale. Failure where the sheet would be larger than anyone can open.
Sheet lay_out(const SheetImages& images, const std::vector<std::size_t>& groups,
              std::size_t columns, std::size_t scale);

}  // namespace fd::run
