// Where audio goes: wav and flac by libsndfile, compressed files by FFmpeg, standard output as a WAV stream or raw
// samples.
#pragma once

#include <memory>
#include <span>
#include <string>

namespace morph::audio {

struct SinkOptions {
  int rate_hz = 0;
  int channels = 1;
  int bits = 16;           ///< wav, flac, standard output: 16, 24 or 32 (32: float in wav, not in flac)
  int bitrate_kbps = 0;    ///< compressed files; 0: the format's own choice
  bool raw = false;        ///< no header
  std::string provenance;  ///< written as the file's comment; "" = none
};

class AudioSink {
 public:
  virtual ~AudioSink() = default;
  /// Whole frames, interleaved; values beyond -1..1 are limited. Throws Error{resource} when the disk is full.
  virtual void write(std::span<const float> samples) = 0;
  /// Ends the file; without it nothing is left behind.
  virtual void finish() = 0;
};

/// "-" is standard output; else the suffix says what: .wav .flac .raw .mp3 .opus .ogg .m4a. Throws Error{config}.
std::unique_ptr<AudioSink> open_sink(const std::string& path, const SinkOptions& options);

// One per library.
std::unique_ptr<AudioSink> open_sndfile_sink(const std::string& path, const SinkOptions& options);
std::unique_ptr<AudioSink> open_ffmpeg_sink(const std::string& path, const SinkOptions& options);
/// Samples after an optional WAV header of unknown size.
std::unique_ptr<AudioSink> open_stream_sink(const std::string& path, const SinkOptions& options);

/// Little-endian integers of `bits`, or floats for 32; appended.
void encode_samples(std::span<const float> samples, int bits, std::string& out);

}  // namespace morph::audio
