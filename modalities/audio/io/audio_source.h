// Where audio comes from: a file (libsndfile, FFmpeg), a pipe with a WAV header, or raw samples. All deliver
// interleaved 32-bit floats in the file's own rate and channels; converting is the business of visible stages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace morph::audio {

enum class SampleEncoding : std::uint8_t { u8, s16le, s24le, s32le, f32le };
/// Nothing for an unknown name.
std::optional<SampleEncoding> parse_encoding(std::string_view name);
std::size_t bytes_per_sample(SampleEncoding encoding);
/// Appends samples; `bytes` holds whole samples. Integers are divided by their full scale (32768 for 16 bit).
void decode_samples(std::span<const std::byte> bytes, SampleEncoding encoding, std::vector<float>& out);

struct RawFormat {
  SampleEncoding encoding = SampleEncoding::s16le;
  int rate_hz = 0;
  int channels = 1;
};

struct AudioProperties {
  int rate_hz = 0;
  int channels = 0;
  std::int64_t n_frames = -1;  ///< -1: not known before the end
  bool live = false;           ///< a pipe: comes when it comes
};

struct SourceOptions {
  std::optional<RawFormat> raw;     ///< headerless samples
  int track = -1;                   ///< which audio track of a container, counting from 0; -1: the default one
  std::function<bool()> cancelled;  ///< asked while standard input is waited for, as long as the source lives; or null
};

class AudioSource {
 public:
  enum class Status : std::uint8_t { more, waiting, end };
  virtual ~AudioSource() = default;
  virtual const AudioProperties& properties() const = 0;
  /// Appends up to `max_frames` frames to `out`. `waiting`: nothing came within about 0.1 s. Throws Error{format} for
  /// bytes that cannot be decoded, Error{resource} when reading fails.
  virtual Status read(std::size_t max_frames, std::vector<float>& out) = 0;
  /// After the end: what was damaged or missing, or "".
  virtual std::string fault() const { return ""; }
};

/// `path` may be "-" (standard input). Throws Error{config} when it cannot be opened, Error{format} for an empty file,
/// one without audio, or one that is not media.
std::unique_ptr<AudioSource> open_audio(const std::string& path, const SourceOptions& options);
/// The same without taking anything from standard input, which may be asked for again.
AudioProperties probe_audio(const std::string& path, const SourceOptions& options);

}  // namespace morph::audio
