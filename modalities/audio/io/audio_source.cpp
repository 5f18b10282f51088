// Chooses how a path is read; see audio_source.h.
#include "io/audio_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "io/byte_input.h"
#include "io/sources.h"
#include "io/wav_header.h"
#include "morph/error.h"

namespace morph::audio {
namespace {

constexpr std::size_t kPeekBytes = 32u << 10;
constexpr int kPatienceMs = 100;
constexpr int kLeastRateHz = 1000, kMostRateHz = 1'000'000, kMostChannels = 64;
constexpr std::pair<std::string_view, SampleEncoding> kEncodings[] = {{"u8", SampleEncoding::u8},
                                                                      {"s16le", SampleEncoding::s16le},
                                                                      {"s24le", SampleEncoding::s24le},
                                                                      {"s32le", SampleEncoding::s32le},
                                                                      {"f32le", SampleEncoding::f32le}};

bool is_stdin(const std::string& path) { return path == "-" || path == "/dev/stdin"; }

std::vector<std::byte> peek_stdin() {
  std::vector<std::byte> head = peek_bytes(STDIN_FILENO, kPeekBytes, [](std::span<const std::byte> bytes) {
    if (bytes.size() < 12) return false;
    return !looks_like_wav(bytes) || parse_wav_header(bytes, "stdin").has_value();
  });
  if (head.empty()) throw Error(ErrorCode::format, "stdin", "expected audio, found an empty stream");
  return head;
}

/// For FFmpeg, which wants bytes when it asks: waits for them, but not beyond a cancel (then it finds the end).
ByteReader stdin_reader(std::function<bool()> cancelled) {
  return [cancelled = std::move(cancelled)](std::uint8_t* buffer, std::size_t n_bytes) -> std::size_t {
    std::vector<std::byte> bytes;
    while (read_some(STDIN_FILENO, n_bytes, kPatienceMs, bytes) == ReadStatus::waiting)
      if (cancelled && cancelled()) return 0;
    std::memcpy(buffer, bytes.data(), bytes.size());
    return bytes.size();
  };
}

std::array<unsigned char, 4> first_bytes(const std::string& path) {
  std::array<unsigned char, 4> head{};
  std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(head.data()), head.size());
  return head;
}

bool looks_like_mpeg(const std::array<unsigned char, 4>& head) {
  return std::memcmp(head.data(), "ID3", 3) == 0 || (head[0] == 0xFF && (head[1] & 0xE0) == 0xE0);
}

/// Headers claim anything: at 1 Hz 80 kB would be eleven hours.
void check_believable(int rate_hz, int channels, const std::string& where) {
  if (rate_hz < kLeastRateHz || rate_hz > kMostRateHz)
    throw Error(
        ErrorCode::format, where,
        fmt::format("expected {} to {} samples a second, found {}; the header is damaged (or give the format of "
                    "raw samples with the parameters encoding, rate and channels)",
                    kLeastRateHz, kMostRateHz, rate_hz));
  if (channels < 1 || channels > kMostChannels)
    throw Error(ErrorCode::format, where,
                fmt::format("expected 1 to {} channels, found {}; the header is damaged", kMostChannels, channels));
}

std::unique_ptr<AudioSource> believable(std::unique_ptr<AudioSource> source, const std::string& where) {
  check_believable(source->properties().rate_hz, source->properties().channels, where);
  return source;
}

std::unique_ptr<AudioSource> open_file(const std::string& path, const SourceOptions& options) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw Error(ErrorCode::config, path, "expected an audio file, found no file of this name");
  if (fs::is_directory(status)) throw Error(ErrorCode::config, path, "expected an audio file, found a folder");
  if (!options.raw && !fs::is_regular_file(status))
    throw Error(ErrorCode::config, path,
                "expected a file, found a pipe or device; feed it to standard input (`-`), or give its format with the "
                "parameters encoding, rate and channels");
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    throw Error(ErrorCode::config, path, fmt::format("the file cannot be opened: {}", std::strerror(errno)));
  if (options.raw) return open_stream(descriptor, true, path, options.raw, !fs::is_regular_file(status));
  ::close(descriptor);
  if (fs::file_size(path, error) == 0) throw Error(ErrorCode::format, path, "expected audio, found an empty file");
  // libsndfile's MPEG reader talks to the terminal; FFmpeg does it as well.
  if (options.track < 0 && !looks_like_mpeg(first_bytes(path)))
    if (auto source = open_sndfile(path)) return believable(std::move(source), path);
  return believable(open_ffmpeg(path, options.track), path);
}

}  // namespace

std::optional<SampleEncoding> parse_encoding(std::string_view name) {
  for (const auto& [known, encoding] : kEncodings)
    if (known == name) return encoding;
  return std::nullopt;
}

std::size_t bytes_per_sample(SampleEncoding encoding) {
  constexpr std::array<std::size_t, 5> kBytes{1, 2, 3, 4, 4};
  return kBytes[static_cast<std::size_t>(encoding)];
}

void decode_samples(std::span<const std::byte> bytes, SampleEncoding encoding, std::vector<float>& out) {
  const std::size_t width = bytes_per_sample(encoding), n = bytes.size() / width;
  out.reserve(out.size() + n);
  for (std::size_t i = 0; i < n; ++i) {
    std::uint32_t word = 0;  // the sample in the upper bits
    for (std::size_t b = 0; b < width; ++b)
      word |= static_cast<std::uint32_t>(bytes[i * width + b]) << (8 * (4 - width + b));
    float value;
    if (encoding == SampleEncoding::f32le)
      std::memcpy(&value, &word, sizeof value);
    else if (encoding == SampleEncoding::u8)
      value = (static_cast<float>(word >> 24) - 128.0f) / 128.0f;
    else
      value = static_cast<float>(static_cast<std::int32_t>(word)) / 2147483648.0f;
    out.push_back(value);
  }
}

std::unique_ptr<AudioSource> open_audio(const std::string& path, const SourceOptions& options) {
  if (!is_stdin(path)) return open_file(path, options);
  if (options.raw) return open_stream(STDIN_FILENO, false, "stdin", options.raw, true);
  if (looks_like_wav(peek_stdin()))
    return believable(open_stream(STDIN_FILENO, false, "stdin", std::nullopt, true), "stdin");
  return believable(open_ffmpeg("stdin", options.track, stdin_reader(options.cancelled)), "stdin");
}

AudioProperties probe_audio(const std::string& path, const SourceOptions& options) {
  if (!is_stdin(path)) return open_file(path, options)->properties();
  if (options.raw) return {options.raw->rate_hz, options.raw->channels, -1, true};
  const std::vector<std::byte> head = peek_stdin();
  if (looks_like_wav(head)) {
    const std::optional<WavHeader> header = parse_wav_header(head, "stdin");
    if (!header) throw Error(ErrorCode::format, "stdin", "the stream ends inside its WAV header");
    check_believable(header->format.rate_hz, header->format.channels, "stdin");
    return {header->format.rate_hz, header->format.channels, -1, true};
  }
  std::size_t at = 0;
  return open_ffmpeg("stdin", options.track,
                     [&](std::uint8_t* buffer, std::size_t n_bytes) {
                       const std::size_t n = std::min(n_bytes, head.size() - at);
                       std::memcpy(buffer, head.data() + at, n);
                       at += n;
                       return n;
                     })
      ->properties();
}

}  // namespace morph::audio
