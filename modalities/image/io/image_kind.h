// Which kind of image file some bytes are, by the bytes alone: one table for sniffing, messages and the choice of a
// codec. Sources: the formats' own specifications (PNG 5.2, T.81 B.1.1.3, TIFF 6.0, GIF89a, RFC 9649, ISO/IEC 23008-12
// and the AV1 Image File Format for brands, ISO/IEC 18181-2 for JPEG XL, ISO 32000 for PDF, OpenEXR's file layout).
#pragma once

#include <cstddef>
#include <span>

namespace morph::image {

struct ImageKind {
  const char* name;   ///< "png", "jpeg", ...: what codecs are asked for
  const char* title;  ///< as people write it: "PNG"
  bool paged;         ///< may hold several pages or frames
  bool readable;      ///< false: known, and said to be that, but not decoded here
};

/// Null: the bytes begin like no image. The first 64 bytes are enough for all kinds.
const ImageKind* image_kind(std::span<const std::byte> head);

/// "PNG, JPEG, ...": those that can be read, for messages.
const char* readable_image_kinds();

}  // namespace morph::image
