// One round of a loop that waits for another thread: tells the core so. 10 to 40 ns on x86.
#pragma once

namespace fd {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb");  // what others found to wait about as long as x86's pause
#endif
}

}  // namespace fd
