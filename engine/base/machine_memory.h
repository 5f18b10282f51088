// What this machine has in memory, for the memory plan's default limit: the kernel's estimate of what can be had
// without swapping, capped by every control group above this process.
#pragma once

#include <cstdint>
#include <filesystem>

namespace morph {

/// Physical memory, or the control group's limit when that is lower; 0 = the system does not say. Bytes. `root` is
/// where proc/ and sys/ are.
std::uint64_t total_memory(const std::filesystem::path& root = "/");

/// What this process could still allocate without swapping: MemAvailable (from kernels and containers that lack it:
/// what is free, buffered and cached), and the control groups' room. 0 = the system does not say; 1 = nothing. Bytes.
std::uint64_t available_memory(const std::filesystem::path& root = "/");

/// Resident bytes of this process now.
std::uint64_t resident_memory(const std::filesystem::path& root = "/");

/// Of them, what belongs to it alone and cannot be had back by dropping pages of files: the rest is in
/// available_memory() already, as the kernel counts pages of files that can be read again as available.
std::uint64_t unreclaimable_memory(const std::filesystem::path& root = "/");

/// Most that this process could come to hold, resident, what it holds now included; bytes, 0 = the system does not say.
struct ProcessMemoryLimit {
  std::uint64_t bytes = 0;
  bool by_address_space = false;  ///< a limit of address space or data (`ulimit -v`, `-d`) decides, not the machine
};

/// What can be had and what it has; and under a limit of address space what that leaves room for: stacks, heaps and
/// mapped files reserve more than is ever resident. 2.5 times what is resident and 100 MiB is counted. Measured where
/// the limit starts to suffice: 1.4 to 2.4 times for chats (from 612 MiB) and voices, so that some are refused which
/// would run; about 4.8 times for reading a page, whose libraries reserve most.
ProcessMemoryLimit process_memory_limit(const std::filesystem::path& root = "/");

/// The limit of address space with which process_memory_limit() would be `bytes`.
std::uint64_t address_space_for(std::uint64_t bytes, const std::filesystem::path& root = "/");

/// Address space that may still be taken; the largest number where there is no limit.
std::uint64_t address_space_left(const std::filesystem::path& root = "/");

/// What a program that links this library is resident with before it loads anything. Where the kernel tells, that is
/// the process's own resident size when this is called (an Engine asks when it is made) plus 8 MiB, measured, for
/// thread stacks and code that is paged in later; elsewhere the measured constant of the command: 40 MiB.
std::uint64_t bare_process_memory();

}  // namespace morph
