#include "tools/sheet.h"

#include <algorithm>

#include "tools/options.h"

namespace fd::run {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;

struct Cell {
  std::size_t row, column;
};

std::vector<Cell> cells_of(const std::vector<std::size_t>& groups, std::size_t columns) {
  std::vector<Cell> cells;
  std::size_t row = 0, column = 0;
  for (const std::size_t size : groups) {
    for (std::size_t i = 0; i < size; ++i) {
      if (column == columns || (i == 0 && column != 0)) {
        ++row;
        column = 0;
      }
      cells.push_back({row, column++});
    }
  }
  return cells;
}

// One image, magnified, with its corner at (top, left).
void paste(const SheetImages& images, std::size_t k, std::size_t scale, std::size_t top,
           std::size_t left, Sheet* sheet) {
  const std::uint8_t* image = images.pixels + k * images.height * images.width * images.channels;
  const std::size_t line = images.width * scale * 3;
  for (std::size_t y = 0; y < images.height; ++y) {
    std::uint8_t* first = sheet->pixels.data() + ((top + y * scale) * sheet->width + left) * 3;
    for (std::size_t x = 0; x < images.width * scale; ++x) {
      const std::uint8_t* pixel = image + (y * images.width + x / scale) * images.channels;
      for (std::size_t c = 0; c < 3; ++c) first[x * 3 + c] = pixel[images.channels == 1 ? 0 : c];
    }
    for (std::size_t copy = 1; copy < scale; ++copy) {
      std::copy_n(first, line, first + copy * sheet->width * 3);
    }
  }
}

}  // namespace

Sheet lay_out(const SheetImages& images, const std::vector<std::size_t>& groups,
              std::size_t columns, std::size_t scale) {
  if (columns == 0) {
    columns = 8;
    if (!groups.empty()) {
      columns = std::min<std::size_t>(16, *std::max_element(groups.begin(), groups.end()));
    }
  }
  const std::vector<Cell> cells =
      cells_of(groups.empty() ? std::vector<std::size_t>{images.n} : groups, columns);
  const std::size_t gap = std::max<std::size_t>(1, scale / 2);
  const std::size_t cell_width = images.width * scale + gap;
  const std::size_t cell_height = images.height * scale + gap;
  const std::size_t rows = cells.empty() ? 1 : cells.back().row + 1;
  Sheet sheet;
  sheet.width = columns * cell_width + gap;
  sheet.height = rows * cell_height + gap;
  if (sheet.width > kMostBytes / 3 / sheet.height) {
    throw Failure("--scale: expected a sheet of at most 1 GiB, got " + std::to_string(sheet.width) +
                  " x " + std::to_string(sheet.height) + " pixels");
  }
  sheet.pixels.assign(sheet.width * sheet.height * 3, 255);
  for (std::size_t k = 0; k < cells.size(); ++k) {
    paste(images, k, scale, gap + cells[k].row * cell_height, gap + cells[k].column * cell_width,
          &sheet);
  }
  return sheet;
}

}  // namespace fd::run
