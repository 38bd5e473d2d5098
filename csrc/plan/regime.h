// How a plan is run, as far as choices of algorithms depend on it: on how many samples at a time,
// and by one thread alone or by a whole team that shares each step.
#pragma once

namespace fd {

constexpr int kMaxBlock = 8;  // samples in one run of a plan
constexpr int kRegimes = 4 + 4;

struct Regime {
  int samples = 1;  // 1, 2, 4 or 8: that many or fewer, more than half of it
  bool team = false;

  static Regime of(int samples, bool team) {
    int rounded = 1;
    while (rounded < samples && rounded < kMaxBlock) rounded *= 2;
    return {rounded, team};
  }
  int index() const {
    const int size = samples >= 8 ? 3 : samples >= 4 ? 2 : samples >= 2 ? 1 : 0;
    return size + (team ? 4 : 0);
  }
};

}  // namespace fd
