// Images as they travel between stages: 8-bit pixels, row by row.
//
// A header of plain values. Format type "image/pixels" with field channels (1 grey, 3 RGB, 4 RGBA).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "morph/packet.h"

namespace morph {

class Image final : public Payload {
 public:
  int width = 0, height = 0, channels = 3;
  std::vector<std::uint8_t> pixels;  ///< [channels, width, height], innermost first, no padding
  int page = 0;                      ///< of a file with several pages or frames: 1, 2, ...; 0: it is the only one
  int n_pages = 1;                   ///< how many there are; 0 when not known
  std::string_view type_name() const override { return "image"; }
  std::size_t bytes() const override { return sizeof(Image) + pixels.size(); }
  void encode(std::vector<std::byte>& out) const override;
};

}  // namespace morph
