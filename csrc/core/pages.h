// Memory in large pages, for what every step of a run walks through: packed weights, arenas,
// scratch. A network's weights are some 20 MB; in pages of 4 KiB their addresses do not fit into
// the processor's tables, and looking them up again costs 6 to 8 % of a step (AMD Zen 4, sprites16,
// batch 8 to 128).
#pragma once

#include <cstddef>

namespace fd {

// At least `bytes`, aligned to a cache line, not initialised; std::bad_alloc where there is none.
// Pieces are cut from chunks of 32 MiB, which go back to the system when nothing of them is in use.
// Thread-safe. Where the system has no large pages to give it gives small ones.
void* allocate_pages(std::size_t bytes);
void free_pages(void* memory) noexcept;

// How many pieces this process has taken so far: what is said to allocate nothing can be held to
// it.
std::size_t pieces_taken();

}  // namespace fd
