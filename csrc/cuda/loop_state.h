// What the kernels of the graph loop do, a thread at a time, for device and host alike: the tests
// run the same functions without a GPU.
//
//   begin          done = 0, rows[b] = 0
//   keep_preview   slot = schedule[done]; where slot >= 0: previews[slot] = x, x0_previews[slot] =
//   x0 advance        done += 1, rows[b] += 1, words->rows_done = done goes on while  done < *count
//   and not words->cancelled
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(FD_HOST_DEVICE)
#if defined(__CUDACC__)
#define FD_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define FD_HOST_DEVICE inline
#endif
#endif

namespace fd {

// The words that host and device both see while a loop runs: host memory, mapped into the device's
// addresses. Each on a line of its own, since the two sides write different ones.
struct LoopWords {
  alignas(64) std::int32_t rows_done;    // written by the device
  alignas(64) std::int32_t rows_wanted;  // written by the device: *count, as begin read it
  alignas(64) std::int32_t cancelled;    // written by the host
};

// What begin and advance work on: device addresses.
struct LoopState {
  std::int32_t* done = nullptr;         // [1], ours; not rows[0], which a faulty step could reset
  std::int32_t* rows = nullptr;         // [batch], read by the step
  const std::int32_t* count = nullptr;  // [1]
  LoopWords* words = nullptr;
  std::int32_t batch = 0;
};

// What keep_preview works on: device addresses.
struct PreviewCopy {
  const std::int32_t* done = nullptr;      // [1]
  const std::int32_t* schedule = nullptr;  // [*count]: a slot, or -1
  const float* x = nullptr;                // [values]
  const float* x0 = nullptr;               // [values]
  float* previews = nullptr;               // [slots, values], or null
  float* x0_previews = nullptr;            // [slots, values], or null
  std::size_t values = 0;                  // batch * elements
  bool in_quads = false;                   // all four start on 16 bytes, values is a multiple of 4
};

struct alignas(16) FloatQuad {
  float value[4];
};

// The other side writes this word at any time.
FD_HOST_DEVICE std::int32_t read_shared(const std::int32_t* word) {
#if defined(__CUDA_ARCH__)
  return *static_cast<const volatile std::int32_t*>(word);
#else
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
#endif
}

// All that was written before is seen by whoever sees this word.
FD_HOST_DEVICE void write_shared(std::int32_t* word, std::int32_t value) {
#if defined(__CUDA_ARCH__)
  __threadfence_system();
  *static_cast<volatile std::int32_t*>(word) = value;
#else
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
#endif
}

FD_HOST_DEVICE bool loop_goes_on(std::int32_t done, std::int32_t count, std::int32_t cancelled) {
  return done < count && cancelled == 0;
}

// One thread's share of rows[b] = 0.
FD_HOST_DEVICE void begin_rows(const LoopState& s, std::int32_t thread, std::int32_t threads) {
  for (std::int32_t b = thread; b < s.batch; b += threads) s.rows[b] = 0;
}

// One thread's share of rows[b] += 1.
FD_HOST_DEVICE void advance_rows(const LoopState& s, std::int32_t thread, std::int32_t threads) {
  for (std::int32_t b = thread; b < s.batch; b += threads) s.rows[b] += 1;
}

// For one thread alone.
FD_HOST_DEVICE void begin_loop(const LoopState& s) {
  *s.done = 0;
  write_shared(&s.words->rows_done, 0);
  write_shared(&s.words->rows_wanted, *s.count);
}

// For one thread alone.
FD_HOST_DEVICE void advance_loop(const LoopState& s) {
  *s.done += 1;
  write_shared(&s.words->rows_done, *s.done);
}

// For the thread that began or advanced: whether a row is to run now.
FD_HOST_DEVICE bool loop_goes_on(const LoopState& s) {
  return loop_goes_on(*s.done, *s.count, read_shared(&s.words->cancelled));
}

// The slot that keeps the row just run; negative: none.
FD_HOST_DEVICE std::int32_t preview_slot(const PreviewCopy& p) { return p.schedule[*p.done]; }

// One thread's share of to[slot] = from, values items each.
template <class Item>
FD_HOST_DEVICE void copy_to_slot(const Item* from, Item* to, std::int32_t slot, std::size_t values,
                                 std::size_t thread, std::size_t threads) {
  Item* kept = to + static_cast<std::size_t>(slot) * values;
  for (std::size_t i = thread; i < values; i += threads) kept[i] = from[i];
}

FD_HOST_DEVICE void keep_one(const PreviewCopy& p, const float* from, float* to, std::int32_t slot,
                             std::size_t thread, std::size_t threads) {
  if (to == nullptr) return;
  if (p.in_quads) {
    copy_to_slot(reinterpret_cast<const FloatQuad*>(from), reinterpret_cast<FloatQuad*>(to), slot,
                 p.values / 4, thread, threads);
  } else {
    copy_to_slot(from, to, slot, p.values, thread, threads);
  }
}

// One thread's share of keeping the row just run.
FD_HOST_DEVICE void keep_preview(const PreviewCopy& p, std::size_t thread, std::size_t threads) {
  const std::int32_t slot = preview_slot(p);
  if (slot < 0) return;
  keep_one(p, p.x, p.previews, slot, thread, threads);
  keep_one(p, p.x0, p.x0_previews, slot, thread, threads);
}

}  // namespace fd
