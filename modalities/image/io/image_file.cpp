// Image files. See image_file.h.
#include "io/image_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>

#include "base/loaded_module.h"
#include "io/codec_interface.h"

namespace morph::image {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;
constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;

std::uint8_t* allocate(void* user, int width, int height, int channels) {
  auto& image = *static_cast<Image*>(user);
  if (width <= 0 || height <= 0 || static_cast<std::int64_t>(width) * height > kMostPixels) return nullptr;
  image.width = width;
  image.height = height;
  image.channels = channels;
  image.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) *
                      static_cast<std::size_t>(channels));
  return image.pixels.data();
}

}  // namespace

std::vector<std::byte> read_bytes(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) throw Error(ErrorCode::config, path, "expected an image file, found none that can be opened");
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::vector<std::byte> bytes;
  std::vector<char> block(1 << 18);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    const auto got = std::as_bytes(std::span(block.data(), static_cast<std::size_t>(in.gcount())));
    bytes.insert(bytes.end(), got.begin(), got.end());
    if (bytes.size() > kMostBytes)
      throw Error(ErrorCode::resource, path, "expected at most 1 GiB of image, found more");
  }
  return bytes;
}

bool ends_early(std::span<const std::byte> bytes) {
  // ITU-T T.81, annex B: markers with segments of a stated length; after a start of scan also coded bytes, in which ff
  // is followed by 00 or a restart marker. Previews inside a segment, with ends of their own, are stepped over.
  const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  if (bytes.size() < 2 || at(0) != 0xff || at(1) != 0xd8) return false;
  bool coded = false;
  for (std::size_t i = 2; i + 1 < bytes.size();) {
    const unsigned marker = at(i + 1);
    const bool is_marker = at(i) == 0xff && marker != 0x00 && marker != 0xff && (marker & 0xf8) != 0xd0;
    if (!is_marker) {
      if (at(i) != 0xff && !coded) return false;  // no marker where one must be: damaged, which the decoder judges
      ++i;
      continue;
    }
    if (marker == 0xd9) return false;
    if (i + 3 >= bytes.size()) return true;
    coded = marker == 0xda;
    i += 2 + std::max<std::size_t>(2, at(i + 2) << 8 | at(i + 3));
  }
  return true;
}

std::shared_ptr<const Image> decode_file(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.empty()) throw Error(ErrorCode::format, where, "expected an image, found an empty file");
  static const LoadedModule codecs("image_codecs");  // one load per process; dlopen counts anyway
  auto* decode = codecs.function<MorphImageDecode>("morph_image_decode_v1");
  auto image = std::make_shared<Image>();
  const MorphImageSink sink{image.get(), allocate};
  std::array<char, 256> message{};
  if (decode(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), &sink, message.data(),
             message.size()) != 0)
    throw Error(ErrorCode::format, where,
                fmt::format("expected a PNG, JPEG, WebP, BMP, TIFF or PNM image, but {}", message.data()));
  return image;
}

}  // namespace morph::image
