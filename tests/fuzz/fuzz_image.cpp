// Any bytes as the header of a picture: its size is found or not, and a size that is found is one that a picture can
// have.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>

#include "modalities/image/io/image_size.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
  const auto found = morph::image::read_image_size(in);
  if (found && (found->width == 0 || found->height == 0 || found->width > 1u << 24 || found->height > 1u << 24))
    std::abort();
  return 0;
}
