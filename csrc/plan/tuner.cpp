#include "plan/tuner.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "core/cpu_features.h"

namespace fd {
namespace {

constexpr int kRounds = 6;
constexpr double kClearly = 0.97;  // of the heuristic's time
constexpr const char* kFormat = "fastdiff tuning 1";

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, model, name;
  while (std::getline(info, line) && (model.empty() || name.empty())) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.rfind("model name", 0) == 0) name = line.substr(colon + 2);
    if (line.rfind("model\t", 0) == 0) model = line.substr(colon + 2);
  }
  return name + " model " + model;
}

void make_folders(const std::string& folder) {
  for (std::size_t i = 1; i <= folder.size(); ++i) {
    if (i == folder.size() || folder[i] == '/') mkdir(folder.substr(0, i).c_str(), 0755);
  }
}

}  // namespace

std::string default_cache_folder() {
  for (const auto& [variable, below] :
       {std::pair{"FASTDIFF_CACHE_DIR", ""}, std::pair{"XDG_CACHE_HOME", "/fastdiff"},
        std::pair{"HOME", "/.cache/fastdiff"}}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return std::string(value) + below;
  }
  return "";
}

Tuner::Tuner(const std::string& folder, double budget_s) : budget_s_(budget_s) {
  if (folder.empty()) return;
  path_ = folder + "/tuning";
  first_line_ = std::string(kFormat) + "\t" + FASTDIFF_VERSION + "\t" + cpu_name();
  read();
}

Tuner::~Tuner() {
  if (changed_ && !path_.empty()) write();
}

void Tuner::read() {
  std::ifstream file(path_);
  std::string line;
  if (!std::getline(file, line) || line != first_line_) return;
  while (std::getline(file, line)) {
    const std::size_t tab = line.find('\t');
    if (tab != std::string::npos) known_[line.substr(0, tab)] = line.substr(tab + 1);
  }
}

// Whole or not at all: another process may read at any time, and may have added lines meanwhile,
// which are the same measurements of the same machine, so that losing some costs time alone.
void Tuner::write() const {
  const std::size_t slash = path_.rfind('/');
  make_folders(path_.substr(0, slash));
  const std::string fresh = path_ + "." + std::to_string(getpid());
  {
    std::ofstream file(fresh);
    file << first_line_ << '\n';
    for (const auto& [key, name] : known_) file << key << '\t' << name << '\n';
    if (!file.flush()) {
      std::remove(fresh.c_str());
      return;
    }
  }
  std::rename(fresh.c_str(), path_.c_str());
}

std::string Tuner::remembered(const std::string& key) const {
  const auto known = known_.find(key);
  return known == known_.end() ? "" : known->second;
}

void Tuner::remember(const std::string& key, const std::string& value) {
  known_[key] = value;
  changed_ = true;
}

std::size_t Tuner::choose(const std::string& key, const std::vector<std::string>& names,
                          const std::function<double(std::size_t)>& seconds) {
  const auto known = known_.find(key);
  if (known != known_.end()) {
    const auto found = std::find(names.begin(), names.end(), known->second);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  if (names.size() < 2 || spent_s_ > budget_s_) return 0;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<double> least(names.size(), std::numeric_limits<double>::infinity());
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      // What is far behind after two rounds stays there.
      const double best = *std::min_element(least.begin(), least.end());
      if (round >= 2 && least[i] > 1.5 * best) continue;
      least[i] = std::min(least[i], seconds(i));
    }
  }
  std::size_t fastest = 0;
  for (std::size_t i = 1; i < names.size(); ++i) {
    if (least[i] < least[fastest] * (fastest == 0 ? kClearly : 1.0)) fastest = i;
  }
  spent_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ++measured_;
  known_[key] = names[fastest];
  changed_ = true;
  return fastest;
}

}  // namespace fd
