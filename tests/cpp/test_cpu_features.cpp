// Instruction set names and caps, and the CPU counts of both kinds of cgroup.

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "check.h"
#include "core/cpu_count.h"
#include "core/error.h"
#include "cpu/dispatch.h"

namespace {

// A folder that looks like /sys/fs/cgroup, with the file /proc/self/cgroup beside it.
class FakeCgroup {
 public:
  FakeCgroup() {
    char name[] = "/tmp/fastdiff_cgroup_XXXXXX";
    root_ = mkdtemp(name);
  }
  ~FakeCgroup() { static_cast<void>(std::system(("rm -rf " + root_).c_str())); }
  FakeCgroup(const FakeCgroup&) = delete;

  void write(const std::string& path, const std::string& text) {
    for (std::size_t i = 1; (i = path.find('/', i)) != std::string::npos; ++i) {
      mkdir((root_ + path.substr(0, i)).c_str(), 0700);
    }
    std::ofstream(root_ + path) << text;
  }
  int limit() const { return fd::cgroup_cpu_limit(root_ + "/self", root_); }

 private:
  std::string root_;
};

}  // namespace

TEST(isa_names_go_both_ways) {
  for (fd::Isa isa : fd::kAllIsas) CHECK(fd::parse_isa("isa", fd::isa_name(isa)) == isa);
  CHECK_THROWS(fd::InvalidArgument, "isa: expected scalar, avx2, avx512 or avx512_bf16, got 'sse9'",
               fd::parse_isa("isa", "sse9"));
}

TEST(environment_caps_the_isa) {
  setenv("FASTDIFF_MAX_ISA", "scalar", 1);
  CHECK(fd::available_isas() == std::vector<fd::Isa>{fd::Isa::scalar});
  setenv("FASTDIFF_MAX_ISA", "", 1);
  CHECK(fd::available_isas().back() <= fd::machine_isa());
  setenv("FASTDIFF_MAX_ISA", "AVX2", 1);
  CHECK_THROWS(fd::InvalidArgument,
               "FASTDIFF_MAX_ISA: expected scalar, avx2, avx512 or avx512_bf16, got 'AVX2'",
               fd::active_isa());
  unsetenv("FASTDIFF_MAX_ISA");
  CHECK(fd::active_isa() == fd::available_isas().back());  // the failure before left nothing
}

TEST(thread_counts_are_parsed_strictly) {
  CHECK_EQUAL(fd::parse_thread_count("T", "3"), 3);
  for (const char* wrong : {"0", "-1", "two", "2x", "", "99999", "1.5"}) {
    CHECK_THROWS(fd::InvalidArgument, "T: expected a whole number",
                 fd::parse_thread_count("T", wrong));
  }
  CHECK(fd::default_thread_count() >= 1);
}

TEST(cgroup_v2_takes_the_least_limit_on_the_way_up) {
  FakeCgroup cgroup;
  cgroup.write("/self", "0::/a/b\n");
  CHECK_EQUAL(cgroup.limit(), 0);
  cgroup.write("/a/b/cpu.max", "max 100000\n");
  CHECK_EQUAL(cgroup.limit(), 0);
  cgroup.write("/a/cpu.max", "250000 100000\n");
  CHECK_EQUAL(cgroup.limit(), 3);
  cgroup.write("/cpu.max", "50000 100000\n");
  CHECK_EQUAL(cgroup.limit(), 1);
}

TEST(cgroup_v2_in_a_container_reads_the_root) {
  FakeCgroup cgroup;
  cgroup.write("/self", "0::/not/visible/here\n");
  cgroup.write("/cpu.max", "200000 100000\n");
  CHECK_EQUAL(cgroup.limit(), 2);
}

TEST(cgroup_v1) {
  FakeCgroup cgroup;
  cgroup.write("/self", "5:cpuset:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/\n");
  cgroup.write("/cpu/x/cpu.cfs_quota_us", "-1\n");
  cgroup.write("/cpu/x/cpu.cfs_period_us", "100000\n");
  CHECK_EQUAL(cgroup.limit(), 0);
  cgroup.write("/cpu/x/cpu.cfs_quota_us", "150000\n");
  CHECK_EQUAL(cgroup.limit(), 2);
}

TEST_MAIN
