// The threads that parallel_for and run_team share. Made when first wanted, detached, never ended:
// joining threads while static objects are torn down, or in a forked child that does not have them,
// is the classic way to hang at exit. After fork() the child has none and makes its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace fd {

// True on a thread that is inside a chunk or a team: what is begun there runs inline, since waiting
// for workers that may all be waiting in the same way would never end.
bool inside_work();

class InsideWork {
 public:
  InsideWork();
  ~InsideWork();
  InsideWork(const InsideWork&) = delete;
  InsideWork& operator=(const InsideWork&) = delete;

 private:
  const bool outer_;
};

// Something that workers may join from post() to close(). It lives on its caller's stack: the
// caller leaves only after close() and wait(), when no worker knows of it any more.
class Work {
 public:
  virtual void help(int helper) = 0;  // helper: 1, 2, ... in the order of joining; throws nothing
  int joined() const { return joined_.load(std::memory_order_relaxed); }

 protected:
  Work() = default;
  ~Work() = default;

 private:
  friend class Workers;
  int wanted_ = 0;              // that may still join; guarded by the workers' mutex
  std::atomic<int> joined_{0};  // written under the workers' mutex
  std::atomic<int> inside_{0};  // those joined that have not left; written under that mutex
};

class Workers {
 public:
  static Workers& shared();  // of this process

  // How many helpers, at most `wanted`, may be expected at once, being idle or just started.
  struct Expected {
    int helpers = 0;
    bool started = false;  // some of them a moment ago
  };
  Expected post(Work& work, int wanted);
  int close(Work& work);        // from here on nobody joins; how many have
  void wait(const Work& work);  // until all who joined have left; after close()

 private:
  void start(int wanted);
  void serve();

  std::mutex mutex_;
  std::condition_variable wake_, left_;
  std::vector<Work*> posted_;  // those that still want helpers, oldest first
  int workers_ = 0, busy_ = 0;
};

}  // namespace fd
