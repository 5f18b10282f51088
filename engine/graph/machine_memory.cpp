// /proc/meminfo, /proc/self/statm and control groups v2 and v1. Files that are absent count as "no limit".
#include "graph/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace morph {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

/// The number a one-line file holds; nothing for an absent file, "max" or other text.
std::optional<std::uint64_t> read_number(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::uint64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;
}

std::uint64_t meminfo(const std::string& key) {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  std::uint64_t kib = 0;
  while (in >> name >> kib && std::getline(in, unit))
    if (name == key + ":") return kib * 1024;
  return 0;
}

/// The kernel's page cache counts as used in a group although it can be had back.
std::uint64_t reclaimable(const std::filesystem::path& group) {
  std::ifstream in(group / "memory.stat");
  std::string name;
  std::uint64_t value = 0, sum = 0;
  while (in >> name >> value)
    if (name == "inactive_file" || name == "total_inactive_file" || name == "active_file") sum += value;
  return sum;
}

struct GroupRoom {
  std::uint64_t limit = kNoLimit, room = kNoLimit;
};

void narrow(GroupRoom& found, const std::filesystem::path& group, const char* limit_file, const char* usage_file) {
  const std::optional<std::uint64_t> limit = read_number(group / limit_file);
  if (!limit || *limit >= (kNoLimit >> 2)) return;
  const std::uint64_t cache = reclaimable(group);
  const std::uint64_t used = read_number(group / usage_file).value_or(0);
  const std::uint64_t held = used > cache ? used - cache : 0;
  found.limit = std::min(found.limit, *limit);
  found.room = std::min(found.room, *limit > held ? *limit - held : 0);
}

GroupRoom group_room() {
  GroupRoom found;
  std::ifstream in("/proc/self/cgroup");
  std::string line;
  while (std::getline(in, line)) {
    const std::size_t first = line.find(':'), second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty(), v1 = controllers == "memory";
    if (!v1 && !v2) continue;
    const std::filesystem::path root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    // Every ancestor's limit holds too; inside a container the group's own path may not exist, then only the root does.
    std::filesystem::path inner = std::filesystem::path(line.substr(second + 1)).relative_path();
    while (true) {
      const std::filesystem::path group = root / inner;
      if (v2)
        narrow(found, group, "memory.max", "memory.current");
      else
        narrow(found, group, "memory.limit_in_bytes", "memory.usage_in_bytes");
      if (inner.empty()) break;
      inner = inner.parent_path();
    }
  }
  return found;
}

}  // namespace

std::uint64_t total_memory() { return std::min(meminfo("MemTotal"), group_room().limit); }

std::uint64_t available_memory() { return std::min(meminfo("MemAvailable"), group_room().room); }

std::uint64_t resident_memory() {
  std::ifstream in("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  if (!(in >> size >> resident)) return 0;
  return resident * static_cast<std::uint64_t>(std::max(1L, sysconf(_SC_PAGESIZE)));
}

std::uint64_t bare_process_memory() {
  const std::uint64_t now = resident_memory();
  return now == 0 ? 40 * kMiB : now + 8 * kMiB;
}

}  // namespace morph
