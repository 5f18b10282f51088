// /proc/meminfo, /proc/self/status and limits, and control groups v2 and v1. Files that are absent count as "no limit".
#include "base/machine_memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace morph {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kReserved = 100 * kMiB;  ///< address space of threads' stacks; see process_memory_limit()

/// The number a one-line file holds; nothing for an absent file, "max" or other text.
std::optional<std::uint64_t> read_number(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::uint64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;
}

/// Entries of /proc/meminfo, which may be absent.
struct MemoryInfo {
  std::optional<std::uint64_t> total, available, free, buffers, cached, shared;
};

MemoryInfo read_meminfo(const std::filesystem::path& root) {
  MemoryInfo info;
  const std::pair<const char*, std::optional<std::uint64_t>*> entries[] = {
      {"MemTotal:", &info.total},  {"MemAvailable:", &info.available}, {"MemFree:", &info.free},
      {"Buffers:", &info.buffers}, {"Cached:", &info.cached},          {"Shmem:", &info.shared}};
  std::ifstream in(root / "proc/meminfo");
  std::string name, unit;
  std::uint64_t kib = 0;
  while (in >> name >> kib && std::getline(in, unit))
    for (const auto& [wanted, value] : entries)
      if (name == wanted) *value = kib * 1024;
  return info;
}

/// Older kernels (before 3.14) and some containers' own /proc have no MemAvailable.
std::uint64_t available_of(const MemoryInfo& info) {
  if (info.available) return *info.available;
  if (!info.free) return kNoLimit;
  const std::uint64_t shared = info.shared.value_or(0);  // counted as cached, but cannot be had back
  const std::uint64_t cached = info.cached.value_or(0);
  return *info.free + info.buffers.value_or(0) + (cached > shared ? cached - shared : 0);
}

/// The kernel's page cache counts as used in a group although it can be had back. Version 1 tells both the group's own
/// and (total_) that of all groups in it, as the usage does.
std::uint64_t reclaimable(const std::filesystem::path& group) {
  std::ifstream in(group / "memory.stat");
  std::string name;
  std::uint64_t value = 0, own = 0;
  std::optional<std::uint64_t> total;
  while (in >> name >> value) {
    if (name == "inactive_file" || name == "active_file") own += value;
    if (name == "total_inactive_file" || name == "total_active_file") total = total.value_or(0) + value;
  }
  return total.value_or(own);
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

GroupRoom group_room(const std::filesystem::path& system) {
  GroupRoom found;
  std::ifstream in(system / "proc/self/cgroup");
  std::string line;
  while (std::getline(in, line)) {
    const std::size_t first = line.find(':'), second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty(), v1 = controllers == "memory";
    if (!v1 && !v2) continue;
    const std::filesystem::path root = system / (v2 ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
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

/// Entries of /proc/self/status, in bytes.
struct ProcessStatus {
  std::uint64_t size = 0, data = 0, resident = 0, shared = 0;
  std::optional<std::uint64_t> anonymous;  ///< kernels before 4.5 do not say
};

ProcessStatus read_status(const std::filesystem::path& root) {
  ProcessStatus status;
  std::ifstream in(root / "proc/self/status");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t kib = 0;
    if (!(words >> name >> kib)) continue;
    if (name == "VmSize:") status.size = kib * 1024;
    if (name == "VmData:") status.data = kib * 1024;
    if (name == "VmRSS:") status.resident = kib * 1024;
    if (name == "RssAnon:") status.anonymous = kib * 1024;
    if (name == "RssShmem:") status.shared = kib * 1024;
  }
  return status;
}

struct ProcessLimits {
  std::optional<std::uint64_t> address_space, data;
};

/// Soft limits; nothing where there is none.
ProcessLimits read_limits(const std::filesystem::path& root) {
  ProcessLimits limits;
  std::ifstream in(root / "proc/self/limits");
  for (std::string line; std::getline(in, line);)
    for (const auto& [name, value] :
         {std::pair<std::string_view, std::optional<std::uint64_t>*>{"Max address space", &limits.address_space},
          {"Max data size", &limits.data}}) {
      std::uint64_t bytes = 0;
      if (line.starts_with(name) && std::istringstream(line.substr(name.size())) >> bytes) *value = bytes;
    }
  return limits;
}

}  // namespace

std::uint64_t total_memory(const std::filesystem::path& root) {
  const std::uint64_t total = std::min(read_meminfo(root).total.value_or(kNoLimit), group_room(root).limit);
  return total == kNoLimit ? 0 : total;
}

std::uint64_t available_memory(const std::filesystem::path& root) {
  const std::uint64_t available = std::min(available_of(read_meminfo(root)), group_room(root).room);
  return available == kNoLimit ? 0 : std::max<std::uint64_t>(available, 1);
}

std::uint64_t resident_memory(const std::filesystem::path& root) { return read_status(root).resident; }

std::uint64_t unreclaimable_memory(const std::filesystem::path& root) {
  const ProcessStatus status = read_status(root);
  return status.anonymous ? *status.anonymous + status.shared : status.resident;
}

std::uint64_t address_space_left(const std::filesystem::path& root) {
  const ProcessStatus status = read_status(root);
  const ProcessLimits limits = read_limits(root);
  const auto left = [](const std::optional<std::uint64_t>& most, std::uint64_t used) {
    return !most ? kNoLimit : *most > used ? *most - used : 0;
  };
  return std::min(left(limits.address_space, status.size), left(limits.data, status.data));
}

ProcessMemoryLimit process_memory_limit(const std::filesystem::path& root) {
  const std::uint64_t available = available_memory(root), left = address_space_left(root);
  std::uint64_t limit = available == 0 ? kNoLimit : available + unreclaimable_memory(root);
  ProcessMemoryLimit found;
  if (left != kNoLimit) {
    const std::uint64_t useful = left > kReserved ? (left - kReserved) * 2 / 5 : 0;
    const std::uint64_t by_space = std::max<std::uint64_t>(resident_memory(root) + useful, 1);
    found.by_address_space = by_space < limit;
    limit = std::min(limit, by_space);
  }
  found.bytes = limit == kNoLimit ? 0 : std::max<std::uint64_t>(limit, 1);
  return found;
}

std::uint64_t address_space_for(std::uint64_t bytes, const std::filesystem::path& root) {
  const ProcessStatus status = read_status(root);
  const std::uint64_t more = bytes > status.resident ? bytes - status.resident : 0;
  return more > kNoLimit / 4 ? kNoLimit : status.size + kReserved + more * 5 / 2;
}

std::uint64_t bare_process_memory() {
  const std::uint64_t now = resident_memory();
  return now == 0 ? 40 * kMiB : now + 8 * kMiB;
}

}  // namespace morph
