// Wire form, version 1: width, height, channels (u32 each), pixels.
#include "image_payload.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "exec/wire.h"

namespace morph {

void Image::encode(std::vector<std::byte>& out) const {
  wire::Writer writer(out);
  writer.u8(1);
  writer.u32(static_cast<std::uint32_t>(width));
  writer.u32(static_cast<std::uint32_t>(height));
  writer.u32(static_cast<std::uint32_t>(channels));
  writer.bytes(std::as_bytes(std::span(pixels)));
}

namespace image {

std::shared_ptr<const Payload> decode_image(std::span<const std::byte> body) {
  wire::Reader reader(body, "image");
  if (const int version = reader.u8(); version != 1)
    reader.fail("expected version 1 of an image, found " + std::to_string(version));
  auto value = std::make_shared<Image>();
  const std::uint64_t width = reader.u32();
  const std::uint64_t height = reader.u32();
  const std::uint64_t channels = reader.u32();
  const auto pixels = reader.bytes();
  if (width > 1u << 20 || height > 1u << 20 || channels < 1 || channels > 4 ||
      width * height * channels != pixels.size())
    reader.fail("expected width x height x channels pixels, found " + std::to_string(pixels.size()));
  value->width = static_cast<int>(width);
  value->height = static_cast<int>(height);
  value->channels = static_cast<int>(channels);
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

std::string sniff_image(std::span<const std::byte> head) {
  const std::string_view bytes(reinterpret_cast<const char*>(head.data()), head.size());
  using namespace std::string_view_literals;
  constexpr std::array kStarts = {"\x89PNG\r\n\x1a\n"sv, "\xff\xd8\xff"sv, "II*\0"sv, "MM\0*"sv,
                                  "\0\0\0\x0cjP  \r\n\x87\n"sv};
  for (const std::string_view start : kStarts)
    if (bytes.starts_with(start)) return "image";
  if (bytes.size() > 16 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP") return "image";
  // BMP: "BM", then a plausible size of the information header.
  if (bytes.size() > 18 && bytes.starts_with("BM") && bytes.substr(15, 3) == "\0\0\0"sv) return "image";
  if (bytes.size() > 8 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' &&
      (bytes[2] == '\n' || bytes[2] == ' '))
    return "image";
  return "";
}

}  // namespace image
}  // namespace morph
