// Files that must be regular ones: a pipe, a device or a folder of the same name is refused by what it is, at once. An
// ordinary open of a pipe waits for its writer, and a device never ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "morph/error.h"

namespace morph {

/// "a folder", "a named pipe", "a device", "a socket" or "nothing"; empty for a regular file or a link to one.
std::string other_than_file(const std::filesystem::path& file);

/// Opened for reading; the caller closes it. Throws Error{code} that names the file and what it is instead.
int open_regular_file(const std::filesystem::path& file, ErrorCode code);

/// All bytes. Throws Error{code} as above, and for more than `most` bytes.
std::string read_regular_file(const std::filesystem::path& file, std::uint64_t most, ErrorCode code);

}  // namespace morph
