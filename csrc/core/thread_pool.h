// Persistent worker threads and a parallel loop over chunks.
//
// parallel_for(chunks, threads, body) calls body(0) ... body(chunks - 1), each once, on at most
// `threads` threads (0: default_thread_count()). The calling thread takes part, so one thread means
// no other is woken. Chunks are handed out one by one: which thread runs which is not defined, and
// results must not depend on it. The first exception of a body is thrown in the caller, after every
// running chunk has ended; chunks not yet begun are dropped.
//
// Nested calls run inline. Concurrent calls from several threads share the workers. Nothing is
// started before the first call that can use a second thread. After fork() the child has no workers
// and makes its own.
#pragma once

#include <cstddef>
#include <type_traits>

namespace fd {

// The loop without the template: `call(context, chunk)` runs one chunk.
void run_chunks(std::size_t chunks, int threads, void (*call)(void* context, std::size_t chunk),
                void* context);

template <class Body>
void parallel_for(std::size_t chunks, int threads, Body&& body) {
  // A plain function pointer and a context: no allocation per call, as std::function may need.
  using Plain = typename std::remove_reference<Body>::type;
  run_chunks(
      chunks, threads,
      [](void* context, std::size_t chunk) { (*static_cast<Plain*>(context))(chunk); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace fd
