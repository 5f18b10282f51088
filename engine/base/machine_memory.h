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
std::uint64_t resident_memory();

/// What a program that links this library is resident with before it loads anything. Where the kernel tells, that is
/// the process's own resident size when this is called (an Engine asks when it is made) plus 8 MiB, measured, for
/// thread stacks and code that is paged in later; elsewhere the measured constant of the command: 40 MiB.
std::uint64_t bare_process_memory();

}  // namespace morph
