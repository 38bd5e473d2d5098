#include "cuda/graph_parts.h"

#include <limits>

#include "core/error.h"

namespace fd {
namespace {

// 2^40 floats are 4 TiB: past any device, and far from where sizes overflow.
constexpr std::size_t kMaxValues = std::size_t{1} << 40;

std::uintptr_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

void check_address(const char* name, const void* pointer, bool needed) {
  if (needed && pointer == nullptr) fail_argument(name, "a device address", "0");
  if (address_of(pointer) % sizeof(float) != 0) {
    fail_argument(name, "a multiple of 4", std::to_string(address_of(pointer)));
  }
}

void check_size(const char* name, std::size_t size, std::size_t most) {
  if (size >= 1 && size <= most) return;
  fail_argument(name, "1 to " + std::to_string(most), std::to_string(size));
}

}  // namespace

LoopMode loop_mode(const std::string& name) {
  for (LoopMode mode : {LoopMode::automatic, LoopMode::in_graph, LoopMode::launches}) {
    if (name == loop_mode_name(mode)) return mode;
  }
  fail_argument("mode", "'auto', 'while' or 'launches'", "'" + name + "'");
}

const char* loop_mode_name(LoopMode mode) {
  if (mode == LoopMode::automatic) return "auto";
  return mode == LoopMode::in_graph ? "while" : "launches";
}

void check_loop_parts(const LoopParts& parts) {
  if (parts.step == GraphHandle::none) fail_argument("step", "a captured graph", "0");
  check_size("batch", parts.batch, std::numeric_limits<std::int32_t>::max() / 2);
  check_size("elements", parts.elements, kMaxValues / parts.batch);
  check_address("rows", parts.rows, true);
  check_address("count", parts.count, true);
  check_address("x", parts.x, true);
  check_address("x0", parts.x0, parts.x0_previews != nullptr);
  check_address("previews", parts.previews, false);
  check_address("x0_previews", parts.x0_previews, parts.x0 != nullptr);
  const bool previews = parts.previews != nullptr || parts.x0_previews != nullptr;
  check_address("schedule", parts.schedule, previews);
  if (parts.schedule != nullptr && !previews) {
    fail_argument("schedule", "none without previews or x0_previews",
                  std::to_string(address_of(parts.schedule)));
  }
}

bool keeps_previews(const LoopParts& parts) { return parts.schedule != nullptr; }

PreviewCopy preview_copy(const LoopParts& parts, const std::int32_t* done) {
  PreviewCopy copy;
  copy.done = done;
  copy.schedule = parts.schedule;
  copy.x = parts.x;
  copy.x0 = parts.x0;
  copy.previews = parts.previews;
  copy.x0_previews = parts.x0_previews;
  copy.values = parts.batch * parts.elements;
  const std::uintptr_t bits = address_of(copy.x) | address_of(copy.x0) | address_of(copy.previews) |
                              address_of(copy.x0_previews);
  copy.in_quads = bits % sizeof(FloatQuad) == 0 && copy.values % 4 == 0;
  return copy;
}

}  // namespace fd
