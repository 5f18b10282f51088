// Digests of files: sha256 of weights, inputs and outputs; sha1 as git names its blobs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace morph {

enum class Digest : std::uint8_t { sha1, sha256 };

/// Lower-case hexadecimal digits of the digest of `prefix` and the file's bytes after it. Throws Error{resource} when
/// the file cannot be read.
std::string file_digest(const std::filesystem::path& file, Digest kind, std::string_view prefix = {});

}  // namespace morph
