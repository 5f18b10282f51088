// See wav_header.h.
#include "io/wav_header.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>

#include "morph/error.h"

namespace morph::audio {
namespace {

std::uint64_t little(std::span<const std::byte> bytes, std::size_t at, std::size_t n) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < n; ++i) value |= static_cast<std::uint64_t>(bytes[at + i]) << (8 * i);
  return value;
}

bool tag_at(std::span<const std::byte> bytes, std::size_t at, const char* tag) {
  return bytes.size() >= at + 4 && std::memcmp(bytes.data() + at, tag, 4) == 0;
}

void read_format(std::span<const std::byte> chunk, WavHeader& header, const std::string& where) {
  if (chunk.size() < 16)
    throw Error(ErrorCode::format, where, "expected a WAV format chunk of 16 bytes or more, found less");
  std::uint64_t tag = little(chunk, 0, 2);
  const std::uint64_t channels = little(chunk, 2, 2), rate = little(chunk, 4, 4), bits = little(chunk, 14, 2);
  if (tag == 0xFFFE && chunk.size() >= 26) tag = little(chunk, 24, 2);
  if (channels == 0 || channels > 1024 || rate == 0 || rate > 10000000)
    throw Error(
        ErrorCode::format, where,
        fmt::format("expected a WAV header with a rate and channels, found {} Hz and {} channels", rate, channels));
  header.format.rate_hz = static_cast<int>(rate);
  header.format.channels = static_cast<int>(channels);
  header.plain = true;
  if (tag == 1 && bits == 8)
    header.format.encoding = SampleEncoding::u8;
  else if (tag == 1 && bits == 16)
    header.format.encoding = SampleEncoding::s16le;
  else if (tag == 1 && bits == 24)
    header.format.encoding = SampleEncoding::s24le;
  else if (tag == 1 && bits == 32)
    header.format.encoding = SampleEncoding::s32le;
  else if (tag == 3 && bits == 32)
    header.format.encoding = SampleEncoding::f32le;
  else
    header.plain = false;
}

}  // namespace

bool looks_like_wav(std::span<const std::byte> head) {
  return (tag_at(head, 0, "RIFF") || tag_at(head, 0, "RF64")) && tag_at(head, 8, "WAVE");
}

std::optional<WavHeader> parse_wav_header(std::span<const std::byte> head, const std::string& where) {
  if (head.size() < 12) return std::nullopt;
  if (!looks_like_wav(head)) throw Error(ErrorCode::format, where, "expected a WAV header, found other bytes");
  const bool rf64 = tag_at(head, 0, "RF64");
  WavHeader header;
  std::optional<std::uint64_t> long_size;
  for (std::size_t at = 12; head.size() >= at + 8;) {
    const std::uint64_t size = little(head, at + 4, 4);
    const std::size_t body = at + 8;
    if (tag_at(head, at, "data")) {
      if (header.format.rate_hz == 0)
        throw Error(ErrorCode::format, where, "expected the WAV format before its samples, found none");
      header.data_offset = body;
      if (rf64 && size == 0xFFFFFFFFu)
        header.data_bytes = long_size;
      else if (size != 0 && size < 0x7FFFF000u)  // writers to pipes leave 0, -1 or the largest number here
        header.data_bytes = size;
      return header;
    }
    if (size > (1u << 20))
      throw Error(ErrorCode::format, where,
                  fmt::format("expected samples, found a WAV chunk of {} bytes before them", size));
    if (head.size() < body + size) return std::nullopt;
    if (tag_at(head, at, "fmt ")) read_format(head.subspan(body, static_cast<std::size_t>(size)), header, where);
    if (tag_at(head, at, "ds64") && size >= 24) long_size = little(head, body + 8, 8);
    at = body + static_cast<std::size_t>(size + (size & 1));
  }
  return std::nullopt;
}

}  // namespace morph::audio
