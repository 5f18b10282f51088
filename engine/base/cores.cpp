// See morph/cores.h. Control groups: version 2 has cpu.max ("max 100000" or "150000 100000") in each group up to the
// root, version 1 cpu.cfs_quota_us and cpu.cfs_period_us.
#include "morph/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>

namespace morph {
namespace {

namespace fs = std::filesystem;

/// Cores that `group` grants; infinite where it says nothing.
double quota_of(const fs::path& group) {
  double quota = -1, period = 0;
  if (std::ifstream in(group / "cpu.max"); in) {
    std::string first;
    if (!(in >> first >> period) || first == "max") return INFINITY;
    quota = std::strtod(first.c_str(), nullptr);
  } else {
    std::ifstream(group / "cpu.cfs_quota_us") >> quota;
    std::ifstream(group / "cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : INFINITY;
}

double granted(const fs::path& system) {
  double least = INFINITY;
  std::ifstream groups(system / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/path" or "4:cpu,cpuacct:/path"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    const fs::path root = system / "sys/fs/cgroup" / (controllers.empty() ? "" : controllers);
    for (fs::path group = fs::path(line.substr(second + 1)).relative_path();; group = group.parent_path()) {
      least = std::min(least, quota_of(root / group));
      if (group.empty()) break;
    }
  }
  return least;
}

int bound_to() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());  // more than 1024 of them
}

}  // namespace

int usable_cores(const fs::path& system) {
  const double most = granted(system);
  const int bound = std::max(1, bound_to());
  return std::isfinite(most) ? std::clamp(static_cast<int>(std::ceil(most)), 1, bound) : bound;
}

}  // namespace morph
