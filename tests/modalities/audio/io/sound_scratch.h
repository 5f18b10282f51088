// For tests of audio: a folder that goes away, tones, and stages by name.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "testing/stage_harness.h"

namespace morph::audio {
void register_read(Registry&);
void register_write(Registry&);
void register_resample(Registry&);
void register_mix(Registry&);
void register_voice_activity(Registry&);
void register_playback(Registry&);
void register_payload(Registry&);
}  // namespace morph::audio

namespace morph::testing {

class SoundScratch {
 public:
  SoundScratch() {
    std::string name = (std::filesystem::temp_directory_path() / "morph-audio-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~SoundScratch() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return file(name);
  }
  std::size_t n_files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};

inline std::string bytes_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline const StageSpec& audio_stage(const std::string& name) {
  static const Registry registry = [] {
    Registry filled;
    audio::register_read(filled);
    audio::register_write(filled);
    audio::register_resample(filled);
    audio::register_mix(filled);
    audio::register_voice_activity(filled);
    audio::register_playback(filled);
    return filled;
  }();
  const StageSpec* spec = registry.find_stage(name);
  REQUIRE(spec != nullptr);
  return *spec;
}

inline AudioChunk tone(int rate_hz, int channels, double seconds, double hz = 440.0, float level = 0.5f) {
  AudioChunk chunk;
  chunk.rate_hz = rate_hz;
  chunk.channels = channels;
  const auto n = static_cast<std::size_t>(seconds * rate_hz);
  for (std::size_t i = 0; i < n; ++i)
    for (int c = 0; c < channels; ++c)
      chunk.samples.push_back(
          level * static_cast<float>(std::sin(2 * 3.14159265358979 * hz * (c + 1) * static_cast<double>(i) / rate_hz)));
  return chunk;
}

inline Format pcm(int rate_hz, int channels) {
  return {"audio/pcm", {{"rate", std::int64_t{rate_hz}}, {"channels", std::int64_t{channels}}}};
}

/// Writes chunks with audio/write.
inline void write_audio(const std::string& path, const std::vector<AudioChunk>& chunks, Params params = {}) {
  params.set("path", path);
  HarnessOptions options;
  options.inputs["audio"] = pcm(chunks.front().rate_hz, chunks.front().channels);
  StageHarness harness(audio_stage("audio/write"), params, options);
  for (const AudioChunk& chunk : chunks) harness.feed("audio", chunk);
  harness.end("audio");
  const StepStatus status = harness.run();
  REQUIRE(status == StepStatus::done);
}

struct Heard {
  AudioChunk all;
  std::size_t n_chunks = 0;
  double truncated = 0;
};

/// Everything audio/read gives for a path.
inline Heard read_audio(const std::string& path, Params params = {}) {
  params.set("path", path);
  StageHarness harness(audio_stage("audio/read"), params);
  const StepStatus status = harness.run();
  REQUIRE(status == StepStatus::done);
  Heard heard;
  StreamTime expected{0};
  for (const Packet& packet : harness.take("audio")) {
    const AudioChunk& chunk = packet.as<AudioChunk>();
    CHECK(std::abs((packet.time - expected).count()) < 1000);
    expected = packet.time + packet.duration;
    heard.all.rate_hz = chunk.rate_hz;
    heard.all.channels = chunk.channels;
    heard.all.samples.insert(heard.all.samples.end(), chunk.samples.begin(), chunk.samples.end());
    ++heard.n_chunks;
  }
  CHECK(harness.output_format("audio") == pcm(heard.all.rate_hz, heard.all.channels));
  heard.truncated = harness.metric("truncated");
  return heard;
}

inline Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  FAIL("expected an error");
  return {ErrorCode::internal, "", ""};
}

}  // namespace morph::testing
