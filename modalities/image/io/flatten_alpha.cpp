// See flatten_alpha.h.
#include "io/flatten_alpha.h"

#include <utility>
#include <vector>

namespace morph::image {
namespace {

/// Rec. 709 luma of 8-bit RGB, times 10000.
std::uint64_t luma(const std::uint8_t* rgb) { return 2126u * rgb[0] + 7152u * rgb[1] + 722u * rgb[2]; }

}  // namespace

void flatten_alpha(Image& image) {
  if (image.channels != 4) return;
  std::uint64_t light = 0, opacity = 0;
  for (std::size_t i = 0; i + 3 < image.pixels.size(); i += 4) {
    const std::uint8_t* pixel = &image.pixels[i];
    light += luma(pixel) / 100 * pixel[3];
    opacity += pixel[3];
  }
  const bool dark = light < opacity * (10000 / 100) * 128;
  const unsigned ground = dark ? 255 : 0;
  std::vector<std::uint8_t> rgb(image.pixels.size() / 4 * 3);
  for (std::size_t from = 0, to = 0; to < rgb.size(); from += 4) {
    const unsigned alpha = image.pixels[from + 3];
    for (std::size_t c = 0; c < 3; ++c)
      rgb[to++] = static_cast<std::uint8_t>((image.pixels[from + c] * alpha + ground * (255 - alpha) + 127) / 255);
  }
  image.pixels = std::move(rgb);
  image.channels = 3;
}

}  // namespace morph::image
