// The wire form of Image and how its streams are judged. Registered by stages/payload.cpp.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "morph/guard.h"
#include "morph/image.h"

namespace morph::image {

/// Reads what Image::encode wrote. Throws Error{format}.
std::shared_ptr<const Payload> decode_image(std::span<const std::byte> body);

/// Low and high of the pixels. A black frame is constant zero, which guards allow.
void guard_image(const Payload& payload, GuardReport& report);

/// "image" for the first bytes of PNG, JPEG, WebP, BMP, TIFF, PNM and JPEG 2000 files, else "".
std::string sniff_image(std::span<const std::byte> head);

}  // namespace morph::image
