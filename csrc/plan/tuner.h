// Choices made by measuring, kept on disk.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace fd {

// A file of choices, one "key<tab>name" a line, for one machine: the first line names the
// processor, the library's version and the format, and a file with another one is begun anew.
class Tuner {
 public:
  // An empty folder: nothing is kept. A folder that cannot be written to costs the cache alone.
  // `budget_s`: once that much time has been spent measuring, the first candidate is taken
  // unmeasured.
  Tuner(const std::string& folder, double budget_s);
  ~Tuner();  // writes what is new

  // The index of the fastest candidate. `seconds(i)` runs candidate i once and returns its time.
  // They take turns, A B C A B C, and the least time of each counts: a core that is slow for a
  // while, or far from the other, slows all of a turn. The first, the heuristic's, is left only for
  // one that is clearly faster.
  std::size_t choose(const std::string& key, const std::vector<std::string>& names,
                     const std::function<double(std::size_t)>& seconds);

  // What was kept under a key by `remember`; empty: nothing.
  std::string remembered(const std::string& key) const;
  void remember(const std::string& key, const std::string& value);

  std::size_t measured() const { return measured_; }
  std::string path() const { return path_; }

 private:
  void read();
  void write() const;
  std::string path_, first_line_;
  double budget_s_, spent_s_ = 0;
  std::size_t measured_ = 0;
  std::map<std::string, std::string> known_;
  bool changed_ = false;
};

// FASTDIFF_CACHE_DIR, else XDG_CACHE_HOME/fastdiff, else ~/.cache/fastdiff; empty where none is
// set.
std::string default_cache_folder();

}  // namespace fd
