#include "core/pages.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fd {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kPage = std::size_t{2} << 20, kChunk = std::size_t{32} << 20;

// Under AddressSanitizer each piece is by itself, so that what is written beside it is seen.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPooled = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kPooled = false;
#else
constexpr bool kPooled = true;
#endif
#else
constexpr bool kPooled = true;
#endif

struct Chunk {
  char* begin = nullptr;
  std::size_t size = 0, used = 0, pieces = 0;
};

class Pool {
 public:
  void* allocate(std::size_t bytes) {
    bytes = (std::max<std::size_t>(bytes, 1) + kLine - 1) / kLine * kLine;
    std::lock_guard<std::mutex> lock(mutex_);
    for (Chunk& chunk : chunks_) {
      if (chunk.size - chunk.used >= bytes) return cut(chunk, bytes);
    }
    chunks_.reserve(chunks_.size() + 1);  // so that a chunk once taken is not lost
    Chunk chunk;
    chunk.size = std::max(kChunk, (bytes + kPage - 1) / kPage * kPage);
    chunk.begin = static_cast<char*>(::operator new(chunk.size, std::align_val_t{kPage}));
#if defined(__linux__)
    static_cast<void>(madvise(chunk.begin, chunk.size, MADV_HUGEPAGE));  // a wish
#endif
    chunks_.push_back(chunk);
    return cut(chunks_.back(), bytes);
  }

  void free(void* memory) noexcept {
    const char* at = static_cast<const char*>(memory);
    std::lock_guard<std::mutex> lock(mutex_);
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      Chunk& chunk = chunks_[i];
      if (at < chunk.begin || at >= chunk.begin + chunk.size) continue;
      if (--chunk.pieces > 0) return;
      ::operator delete(chunk.begin, std::align_val_t{kPage});
      chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(i));
      return;
    }
  }

 private:
  static void* cut(Chunk& chunk, std::size_t bytes) {
    void* piece = chunk.begin + chunk.used;
    chunk.used += bytes;
    ++chunk.pieces;
    return piece;
  }

  std::mutex mutex_;
  std::vector<Chunk> chunks_;
};

// Never destroyed: static objects that own pieces may be torn down after it.
Pool& pool() {
  static Pool* const made = new Pool;
  return *made;
}

std::atomic<std::size_t> taken{0};

}  // namespace

std::size_t pieces_taken() { return taken.load(std::memory_order_relaxed); }

void* allocate_pages(std::size_t bytes) {
  taken.fetch_add(1, std::memory_order_relaxed);
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();  // no system has it; sums below cannot wrap
  return kPooled ? pool().allocate(bytes) : ::operator new(bytes, std::align_val_t{kLine});
}

void free_pages(void* memory) noexcept {
  if (memory == nullptr) return;
  if (kPooled) {
    pool().free(memory);
  } else {
    ::operator delete(memory, std::align_val_t{kLine});
  }
}

}  // namespace fd
