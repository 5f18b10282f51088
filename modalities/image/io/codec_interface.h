// The C interface between the image modality and its codec module (modules/image_codecs.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

/// Where a decoded image goes: `allocate` is called once with the size and returns room for width * height * channels
/// bytes, or null to refuse it.
struct MorphImageSink {
  void* user;
  std::uint8_t* (*allocate)(void* user, int width, int height, int channels);
};

/// Decodes PNG, JPEG, WebP, BMP, TIFF, PNM, JPEG 2000 bytes to 8-bit RGB, upright by EXIF orientation. Returns 0, or
/// non-zero with a reason in `message`.
using MorphImageDecode = int(const std::uint8_t* bytes, std::size_t n_bytes, const MorphImageSink* sink, char* message,
                             std::size_t message_size);
}
