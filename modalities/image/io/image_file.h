// Image files to pixels, through the codec module.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "morph/image.h"

namespace morph::image {

/// Whole file; "-" is standard input. Throws Error{config} when it cannot be opened, Error{resource} beyond 1 GiB.
std::vector<std::byte> read_bytes(const std::string& path);

/// Decodes to RGB. Throws Error{format} naming `where` for what is no image, is truncated beyond use or larger than
/// 1 gigapixel.
std::shared_ptr<const Image> decode_file(std::span<const std::byte> bytes, const std::string& where);

/// Whether these bytes begin as a JPEG file does but stop before its end. Decoders of JPEG fill what is missing with
/// grey and say nothing; those of the other formats refuse it.
bool ends_early(std::span<const std::byte> bytes);

}  // namespace morph::image
