// Width and height of an image file from its header alone, for planning memory before anything is decoded. OpenCV,
// which decodes, has no such question to ask. Sources: PNG 11.2.2, ITU-T T.81 annex B, TIFF 6.0 section 2, the WebP
// container (RFC 9649), the Netpbm manual and Microsoft's BITMAPINFOHEADER.
#pragma once

#include <cstdint>
#include <istream>
#include <optional>

namespace morph::image {

struct ImageSize {
  std::uint64_t width = 0, height = 0;  ///< as stored: an orientation tag may swap them
};

/// Nothing for a format that is not looked into, or a damaged header: the decoder will say. Reads a few kilobytes of a
/// stream that can seek. Never throws.
std::optional<ImageSize> read_image_size(std::istream& in);

}  // namespace morph::image
