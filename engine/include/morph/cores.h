// How many cores this process may use: what it is bound to (affinity) and what its container grants, not what the
// machine has. Threads beyond them wait for each other at every barrier: 64 on two cores took 56 s for what two do
// in 3.
#pragma once

#include <filesystem>

namespace morph {

/// At least 1. `system` is where /proc and /sys are found (for tests).
int usable_cores(const std::filesystem::path& system = "/");

}  // namespace morph
