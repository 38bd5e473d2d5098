// How many threads may this process keep busy.
#pragma once

#include <string>

namespace fd {

// FASTDIFF_THREADS where set, else min(CPUs in the affinity mask, the cgroup's CPU quota rounded
// up). At least 1. Read once, at first use; InvalidArgument where FASTDIFF_THREADS is no positive
// whole number.
int default_thread_count();

// The number of threads that `text` asks for; InvalidArgument naming `source` where it's wrong.
int parse_thread_count(const char* source, const char* text);

// The CPU quota of this process's cgroup and those above it, in CPUs rounded up; 0 where there is
// none. Reads both cgroup v1 and v2. The two paths are arguments so that tests can fake them.
int cgroup_cpu_limit(const std::string& proc_self_cgroup = "/proc/self/cgroup",
                     const std::string& cgroup_root = "/sys/fs/cgroup");

constexpr int kMaxThreads = 1024;  // above any sensible request; catches garbage

}  // namespace fd
