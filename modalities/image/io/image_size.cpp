// See image_size.h.
#include "io/image_size.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <string>
#include <string_view>

namespace morph::image {
namespace {

using namespace std::string_view_literals;

std::uint64_t number(std::string_view bytes, std::size_t at, std::size_t n, bool big_endian) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < n; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[big_endian ? at + i : at + n - 1 - i]);
  return value;
}

/// The `n` bytes at `at`, fewer where the stream ends.
std::string read_at(std::istream& in, std::uint64_t at, std::size_t n) {
  if (at > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
  in.clear();
  std::string bytes(n, '\0');
  if (!in.seekg(static_cast<std::streamoff>(at))) return {};
  in.read(bytes.data(), static_cast<std::streamsize>(n));
  bytes.resize(static_cast<std::size_t>(in.gcount()));
  return bytes;
}

std::optional<ImageSize> size_of_jpeg(std::istream& in) {
  std::uint64_t at = 2;
  for (int n_segments = 0; n_segments < 1000; ++n_segments) {
    const std::string head = read_at(in, at, 9);
    if (head.size() < 4 || head[0] != '\xff') return {};
    const auto marker = static_cast<unsigned char>(head[1]);
    const bool frame = marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (frame && head.size() == 9) return ImageSize{number(head, 7, 2, true), number(head, 5, 2, true)};
    if (frame || marker == 0xd9 || marker == 0xda) return {};
    at += marker == 0xff ? 1 : 2 + std::max<std::uint64_t>(2, number(head, 2, 2, true));
  }
  return {};
}

std::optional<ImageSize> size_of_tiff(std::istream& in, std::string_view head) {
  const bool big_endian = head[0] == 'M';
  const std::uint64_t at = number(head, 4, 4, big_endian);
  const std::string count = read_at(in, at, 2);
  if (count.size() < 2) return {};
  const std::string entries = read_at(in, at + 2, 12 * static_cast<std::size_t>(number(count, 0, 2, big_endian)));
  ImageSize size;
  for (std::size_t i = 0; i + 12 <= entries.size(); i += 12) {
    const std::uint64_t tag = number(entries, i, 2, big_endian), kind = number(entries, i + 2, 2, big_endian);
    if (tag != 256 && tag != 257) continue;
    (tag == 256 ? size.width : size.height) = number(entries, i + 8, kind == 3 ? 2 : 4, big_endian);
  }
  return size;
}

std::optional<ImageSize> size_of_webp(std::string_view head) {
  if (head.size() < 30) return {};
  const std::string_view kind = head.substr(12, 4);
  if (kind == "VP8X") return ImageSize{number(head, 24, 3, false) + 1, number(head, 27, 3, false) + 1};
  if (kind == "VP8 ") return ImageSize{number(head, 26, 2, false) & 0x3fff, number(head, 28, 2, false) & 0x3fff};
  if (kind != "VP8L") return {};
  const std::uint64_t bits = number(head, 21, 4, false);
  return ImageSize{(bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1};
}

std::optional<ImageSize> size_of_bmp(std::string_view head) {
  if (head.size() < 26) return {};
  if (number(head, 14, 4, false) == 12) return ImageSize{number(head, 18, 2, false), number(head, 20, 2, false)};
  const auto height = static_cast<std::int32_t>(number(head, 22, 4, false));  // negative: from the top down
  return ImageSize{number(head, 18, 4, false), static_cast<std::uint64_t>(std::abs(std::int64_t{height}))};
}

std::optional<ImageSize> size_of_pnm(std::string_view head) {
  std::array<std::uint64_t, 2> values{};
  std::size_t at = 2;
  for (std::uint64_t& value : values) {
    while (at < head.size() && (std::isspace(static_cast<unsigned char>(head[at])) != 0 || head[at] == '#'))
      at = head[at] == '#' ? std::min(head.size(), head.find('\n', at)) : at + 1;
    std::size_t n_digits = 0;
    for (; at < head.size() && head[at] >= '0' && head[at] <= '9' && n_digits < 10; ++at, ++n_digits)
      value = value * 10 + static_cast<std::uint64_t>(head[at] - '0');
    if (n_digits == 0) return {};
  }
  return ImageSize{values[0], values[1]};
}

std::optional<ImageSize> size_by_kind(std::istream& in) {
  const std::string start = read_at(in, 0, 512);
  const std::string_view head(start);
  if (head.size() >= 24 && head.starts_with("\x89PNG\r\n\x1a\n"sv))
    return ImageSize{number(head, 16, 4, true), number(head, 20, 4, true)};
  if (head.starts_with("\xff\xd8"sv)) return size_of_jpeg(in);
  if (head.size() >= 8 && (head.starts_with("II*\0"sv) || head.starts_with("MM\0*"sv))) return size_of_tiff(in, head);
  if (head.starts_with("RIFF"sv) && head.size() >= 16 && head.substr(8, 4) == "WEBP"sv) return size_of_webp(head);
  if (head.starts_with("BM"sv)) return size_of_bmp(head);
  if (head.size() > 2 && head[0] == 'P' && head[1] >= '1' && head[1] <= '6') return size_of_pnm(head);
  return {};
}

}  // namespace

std::optional<ImageSize> read_image_size(std::istream& in) {
  constexpr std::uint64_t kMostSide = std::uint64_t{1} << 24;  // beyond it a header is damaged, or decoding refuses it
  std::optional<ImageSize> size = size_by_kind(in);
  if (!size || size->width == 0 || size->height == 0 || size->width > kMostSide || size->height > kMostSide) return {};
  return size;
}

}  // namespace morph::image
