// Memory in large pages: aligned, apart from one another, given back, from many threads.

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "check.h"
#include "core/pages.h"

TEST(pieces_are_aligned_and_apart) {
  std::vector<std::pair<unsigned char*, std::size_t>> pieces;
  unsigned char mark = 0;
  for (std::size_t size :
       {0ul, 1ul, 63ul, 64ul, 65ul, 4096ul, 3ul << 20, 40ul << 20, 5ul, 31ul << 20}) {
    auto* piece = static_cast<unsigned char*>(fd::allocate_pages(size));
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(piece) % 64, 0u);
    std::memset(piece, ++mark, size);
    pieces.emplace_back(piece, size);
  }
  mark = 0;
  for (const auto& [piece, size] : pieces) {
    ++mark;
    for (std::size_t i = 0; i < size; ++i) {
      if (piece[i] != mark) check::report(__FILE__, __LINE__, "a piece was written over");
    }
  }
  for (const auto& [piece, size] : pieces) fd::free_pages(piece);
  fd::free_pages(nullptr);
}

TEST(more_than_there_is_is_refused) {
  check::thrown<std::bad_alloc>(__FILE__, __LINE__, [] { fd::allocate_pages(SIZE_MAX - 100); });
}

TEST(threads_may_take_and_give_at_once) {
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([t] {
      std::vector<unsigned char*> mine;
      for (unsigned k = 0; k < 200; ++k) {
        mine.push_back(static_cast<unsigned char*>(fd::allocate_pages(1000 * (k % 7 + 1))));
        std::memset(mine.back(), static_cast<int>(t), 1000);
        if (k % 3 == 2) {
          CHECK(mine.front()[999] == t);
          fd::free_pages(mine.front());
          mine.erase(mine.begin());
        }
      }
      for (unsigned char* piece : mine) {
        CHECK(piece[0] == t && piece[999] == t);
        fd::free_pages(piece);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_MAIN
