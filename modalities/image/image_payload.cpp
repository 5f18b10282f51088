// Wire form, version 2: width, height, channels, page, pages (u32 each), pixels.
#include "image_payload.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "exec/wire.h"
#include "io/image_kind.h"

namespace morph {

void Image::encode(std::vector<std::byte>& out) const {
  wire::Writer writer(out);
  writer.u8(2);
  writer.u32(static_cast<std::uint32_t>(width));
  writer.u32(static_cast<std::uint32_t>(height));
  writer.u32(static_cast<std::uint32_t>(channels));
  writer.u32(static_cast<std::uint32_t>(page));
  writer.u32(static_cast<std::uint32_t>(n_pages));
  writer.bytes(std::as_bytes(std::span(pixels)));
}

namespace image {

std::shared_ptr<const Payload> decode_image(std::span<const std::byte> body) {
  wire::Reader reader(body, "image");
  if (const int version = reader.u8(); version != 2)
    reader.fail("expected version 2 of an image, found " + std::to_string(version));
  auto value = std::make_shared<Image>();
  const std::uint64_t width = reader.u32();
  const std::uint64_t height = reader.u32();
  const std::uint64_t channels = reader.u32();
  const std::uint64_t page = reader.u32();
  const std::uint64_t n_pages = reader.u32();
  const auto pixels = reader.bytes();
  if (page > 1u << 30 || n_pages > 1u << 30) reader.fail("expected a page number, found " + std::to_string(page));
  if (width > 1u << 20 || height > 1u << 20 || channels < 1 || channels > 4 ||
      width * height * channels != pixels.size())
    reader.fail("expected width x height x channels pixels, found " + std::to_string(pixels.size()));
  value->width = static_cast<int>(width);
  value->height = static_cast<int>(height);
  value->channels = static_cast<int>(channels);
  value->page = static_cast<int>(page);
  value->n_pages = static_cast<int>(n_pages);
  value->pixels.resize(pixels.size());
  std::transform(pixels.begin(), pixels.end(), value->pixels.begin(),
                 [](std::byte b) { return static_cast<std::uint8_t>(b); });
  reader.expect_end();
  return value;
}

void guard_image(const Payload& payload, GuardReport& report) {
  const auto* value = dynamic_cast<const Image*>(&payload);
  if (value == nullptr) return;
  report.unit_ends = true;
  report.zero_is_fault = true;  // a black picture is what a decoder gives that failed
  if (value->pixels.empty()) return;
  const auto [low, high] = std::minmax_element(value->pixels.begin(), value->pixels.end());
  report.add(*low);
  report.add(*high);
  report.n_values += value->pixels.size() - std::min<std::size_t>(2, value->pixels.size());
}

std::string sniff_image(std::span<const std::byte> head) { return image_kind(head) != nullptr ? "image" : ""; }

}  // namespace image
}  // namespace morph
