#include "core/cpu_count.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/error.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace fd {
namespace {

int affinity_count() {
#if defined(__linux__)
  // A fixed cpu_set_t holds 1024 CPUs; on larger machines the kernel refuses it, and the count of
  // CPUs online stands in.
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Quota and period in microseconds as CPUs rounded up; 0 where there is no limit.
int cpus_of_quota(double quota_us, double period_us) {
  if (!(quota_us > 0) || !(period_us > 0)) return 0;
  return static_cast<int>(std::min<double>(kMaxThreads, std::ceil(quota_us / period_us)));
}

int read_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period_us = 0;
  if (!(file >> quota >> period_us) || quota == "max") return 0;
  return cpus_of_quota(std::strtod(quota.c_str(), nullptr), period_us);
}

int read_v1(const std::string& folder) {
  double quota_us = 0, period_us = 0;
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota_us;  // -1: no limit
  std::ifstream(folder + "/cpu.cfs_period_us") >> period_us;
  return cpus_of_quota(quota_us, period_us);
}

// The least limit of `path` and every cgroup above it: a quota binds all that lies below. Inside a
// container the path may not exist, and then only the root, which is the container's own, is read.
int least_limit(const std::string& root, std::string path, int (*read)(const std::string&)) {
  int least = 0;
  for (;;) {
    const int limit = read(root + path);
    if (limit > 0) least = least == 0 ? limit : std::min(least, limit);
    const std::size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

bool lists_cpu_controller(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

}  // namespace

int cgroup_cpu_limit(const std::string& proc_self_cgroup, const std::string& cgroup_root) {
  std::ifstream file(proc_self_cgroup);
  int least = 0;
  for (std::string line; std::getline(file, line);) {  // id:controllers:path
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    int limit = 0;
    if (controllers.empty()) {
      limit = least_limit(cgroup_root, path, read_v2);
    } else if (lists_cpu_controller(controllers)) {
      limit = least_limit(cgroup_root + "/cpu", path, read_v1);
    }
    if (limit > 0) least = least == 0 ? limit : std::min(least, limit);
  }
  return least;
}

int parse_thread_count(const char* source, const char* text) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < 1 || value > kMaxThreads) {
    fail_argument(source, "a whole number from 1 to " + std::to_string(kMaxThreads),
                  "'" + std::string(text) + "'");
  }
  return static_cast<int>(value);
}

int default_thread_count() {
  static const int count = [] {
    const char* text = std::getenv("FASTDIFF_THREADS");
    if (text != nullptr && *text != '\0') return parse_thread_count("FASTDIFF_THREADS", text);
    const int limit = cgroup_cpu_limit();
    const int cpus = affinity_count();
    return limit > 0 ? std::min(limit, cpus) : cpus;
  }();
  return count;
}

}  // namespace fd
