// A few threads that run one body together and meet at barriers: for work in which hundreds of
// short pieces follow one another, where handing out each through the pool would cost more than the
// piece.
//
// run_team(threads, body) calls body(team) on up to `threads` threads at once (0:
// default_thread_count()). It waits only a short while for workers of the shared pool: whoever has
// come by then is the team, so that a busy machine means a smaller team and never a wait for one
// that is not running. What is computed must not depend on the team's size. The first exception of
// a body is thrown in the caller after all have left; the others' barriers then throw TeamBroken,
// so that nobody waits for one who has gone.
#pragma once

#include <cstddef>
#include <type_traits>

namespace fd {

class Team {
 public:
  int rank() const { return rank_; }  // 0 is the calling thread
  int size() const { return size_; }
  // Returns when every member has called it. Spins for some microseconds, then yields, then sleeps.
  void barrier();

  // A team of one, for work that no other thread takes part in.
  static Team alone();

 private:
  friend class TeamRun;
  int rank_ = 0, size_ = 1;
  class TeamRun* run_ = nullptr;
};

void run_team_call(int threads, void (*call)(void* context, Team& team), void* context);

template <class Body>
void run_team(int threads, Body&& body) {
  using Plain = typename std::remove_reference<Body>::type;
  run_team_call(
      threads, [](void* context, Team& team) { (*static_cast<Plain*>(context))(team); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace fd
