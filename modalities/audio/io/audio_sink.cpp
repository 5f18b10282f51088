// Chooses the sink, and the plain one: samples on standard output or in a headerless file.
#include "io/audio_sink.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>

#include "morph/error.h"
#include "morph/output_file.h"

namespace morph::audio {
namespace {

void put(std::string& out, std::uint32_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
}

/// RIFF with the sizes that mean "until the stream ends".
std::string streaming_header(const SinkOptions& options) {
  const bool is_float = options.bits == 32;
  const auto frame = static_cast<std::uint32_t>(options.channels * options.bits / 8);
  std::string out = "RIFF";
  put(out, 0xFFFFFFFFu, 4);
  out += "WAVEfmt ";
  put(out, 16, 4);
  put(out, is_float ? 3 : 1, 2);
  put(out, static_cast<std::uint32_t>(options.channels), 2);
  put(out, static_cast<std::uint32_t>(options.rate_hz), 4);
  put(out, static_cast<std::uint32_t>(options.rate_hz) * frame, 4);
  put(out, frame, 2);
  put(out, static_cast<std::uint32_t>(options.bits), 2);
  out += "data";
  put(out, 0xFFFFFFFFu, 4);
  return out;
}

class StreamSink final : public AudioSink {
 public:
  StreamSink(const std::string& path, const SinkOptions& options) : options_(options) {
    if (path != "-") file_.emplace(path);
    if (!options.raw) send(streaming_header(options));
  }
  void write(std::span<const float> samples) override {
    std::string bytes;
    encode_samples(samples, options_.bits, bytes);
    send(bytes);
  }
  void finish() override {
    if (file_) file_->finish();
  }

 private:
  void send(const std::string& bytes) {
    const auto view = std::as_bytes(std::span(bytes.data(), bytes.size()));
    if (file_) return file_->write(view);
    if (const int error = write_all(STDOUT_FILENO, view); error != 0)
      throw Error(ErrorCode::resource, "stdout",
                  error == EPIPE ? "the reader of standard output has gone away"
                                 : fmt::format("writing failed ({})", std::strerror(error)));
  }
  SinkOptions options_;
  std::optional<OutputFile> file_;
};

}  // namespace

void encode_samples(std::span<const float> samples, int bits, std::string& out) {
  out.reserve(out.size() + samples.size() * static_cast<std::size_t>(bits) / 8);
  const double scale = bits == 16 ? 32768.0 : 8388608.0;
  for (const float sample : samples) {
    if (bits == 32) {
      std::uint32_t word;
      std::memcpy(&word, &sample, sizeof word);
      put(out, word, 4);
      continue;
    }
    const double scaled = std::isnan(sample) ? 0.0 : std::clamp(sample * scale, -scale, scale - 1.0);
    put(out, static_cast<std::uint32_t>(std::lrint(scaled)), bits / 8);
  }
}

std::unique_ptr<AudioSink> open_stream_sink(const std::string& path, const SinkOptions& options) {
  return std::make_unique<StreamSink>(path, options);
}

std::unique_ptr<AudioSink> open_sink(const std::string& path, const SinkOptions& options) {
  std::string suffix = std::filesystem::path(path).extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (path == "-" || options.raw || suffix == ".raw" || suffix == ".pcm") {
    SinkOptions stream = options;
    stream.raw = options.raw || path != "-";
    return open_stream_sink(path, stream);
  }
  if (suffix == ".wav" || suffix == ".flac") return open_sndfile_sink(path, options);
  for (const char* known : {".mp3", ".opus", ".ogg", ".oga", ".m4a"})
    if (suffix == known) return open_ffmpeg_sink(path, options);
  throw Error(ErrorCode::config, path,
              "expected a file name that ends in .wav, .flac, .mp3, .opus, .ogg, .m4a or .raw, found another");
}

}  // namespace morph::audio
