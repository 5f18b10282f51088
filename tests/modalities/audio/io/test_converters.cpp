// audio/resample and audio/mix.
#include "modalities/audio/io/sound_scratch.h"

using namespace morph;
using namespace morph::testing;

namespace {

/// Feeds `sound` in pieces of `n_piece` frames and returns what comes out as one chunk.
AudioChunk convert(const std::string& stage, const Params& params, const AudioChunk& sound, std::size_t n_piece) {
  HarnessOptions options;
  options.inputs["audio"] = pcm(sound.rate_hz, sound.channels);
  StageHarness harness(audio_stage(stage), params, options);
  const auto channels = static_cast<std::size_t>(sound.channels);
  for (std::size_t at = 0; at < sound.n_frames(); at += n_piece) {
    const std::size_t end = std::min(sound.n_frames(), at + n_piece);
    AudioChunk piece = sound;
    piece.samples.assign(sound.samples.begin() + static_cast<std::ptrdiff_t>(at * channels),
                         sound.samples.begin() + static_cast<std::ptrdiff_t>(end * channels));
    harness.feed("audio", piece);
  }
  harness.end("audio");
  const StepStatus status = harness.run();
  CHECK(status == StepStatus::done);
  AudioChunk all;
  StreamTime expected{0};
  for (const Packet& packet : harness.take("audio")) {
    const AudioChunk& chunk = packet.as<AudioChunk>();
    CHECK(std::abs((packet.time - expected).count()) < 1000);
    expected = packet.time + packet.duration;
    all.rate_hz = chunk.rate_hz;
    all.channels = chunk.channels;
    all.samples.insert(all.samples.end(), chunk.samples.begin(), chunk.samples.end());
  }
  return all;
}

}  // namespace

TEST_CASE("a tone stays a tone at another rate, however it is cut", "[unit][audio]") {
  const int from = GENERATE(8000, 22050, 44100, 48000), to = GENERATE(16000, 24000);
  INFO(from << " to " << to);
  const Params params({{"rate", std::int64_t{to}}});
  const AudioChunk made = convert("audio/resample", params, tone(from, 1, 0.5), 1000);
  CHECK(made.rate_hz == to);
  CHECK(made.n_frames() == static_cast<std::size_t>(to / 2));
  const AudioChunk ideal = tone(to, 1, 0.5);
  double worst = 0;
  for (std::size_t i = 400; i + 400 < made.n_frames(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(made.samples[i]) - ideal.samples[i]));
  CHECK(worst < 1e-3);
  CHECK(convert("audio/resample", params, tone(from, 1, 0.5), 77).samples == made.samples);
}

TEST_CASE("resampling keeps channels apart and passes equal rates through", "[unit][audio]") {
  const AudioChunk stereo = tone(48000, 2, 0.25);
  const AudioChunk made = convert("audio/resample", Params({{"rate", std::int64_t{16000}}}), stereo, 500);
  REQUIRE(made.channels == 2);
  const AudioChunk ideal = tone(16000, 2, 0.25);
  for (std::size_t i = 600; i + 600 < made.samples.size(); ++i)
    REQUIRE(std::abs(made.samples[i] - ideal.samples[i]) < 1e-3f);
  CHECK(convert("audio/resample", {}, stereo, 500).samples == stereo.samples);
}

TEST_CASE("an answer's end is not held back by resampling", "[unit][audio]") {
  HarnessOptions options;
  options.inputs["audio"] = pcm(22050, 1);
  StageHarness harness(audio_stage("audio/resample"), Params({{"rate", std::int64_t{48000}}}), options);
  AudioChunk last = tone(22050, 1, 0.5);
  last.answer_end = 12;
  last.last_of_answer = true;
  harness.feed("audio", last);
  harness.run();
  const auto chunks = harness.take_as<AudioChunk>("audio");
  REQUIRE(chunks.size() == 1);
  CHECK(chunks[0].n_frames() == 24000);
  CHECK(chunks[0].last_of_answer);
  CHECK(chunks[0].answer_end == 12);
}

TEST_CASE("a flush empties the resampler", "[unit][audio]") {
  HarnessOptions options;
  options.inputs["audio"] = pcm(8000, 1);
  StageHarness harness(audio_stage("audio/resample"), Params({{"rate", std::int64_t{16000}}}), options);
  harness.feed("audio", tone(8000, 1, 0.5));
  harness.run();
  harness.flush(3);
  harness.take("audio");
  AudioChunk silence = tone(8000, 1, 0.5, 440, 0.0f);
  Packet packet = Packet::data(std::make_shared<const AudioChunk>(silence));
  packet.epoch = 3;
  harness.feed("audio", packet);
  harness.end("audio");
  harness.run();
  std::size_t n = 0;
  for (const AudioChunk& chunk : harness.take_as<AudioChunk>("audio"))
    for (const float x : chunk.samples) {
      REQUIRE(x == 0.0f);
      ++n;
    }
  CHECK(n == 8000);
}

TEST_CASE("mixing to mono is the mean, to stereo a repeat", "[unit][audio]") {
  AudioChunk stereo;
  stereo.rate_hz = 8000;
  stereo.channels = 2;
  stereo.samples = {0.5f, 0.25f, -1.0f, 0.0f};
  const Params one({{"channels", std::int64_t{1}}}), two({{"channels", std::int64_t{2}}});
  CHECK(convert("audio/mix", one, stereo, 1).samples == std::vector<float>{0.375f, -0.5f});
  AudioChunk mono = stereo;
  mono.channels = 1;
  CHECK(convert("audio/mix", two, mono, 2).samples ==
        std::vector<float>{0.5f, 0.5f, 0.25f, 0.25f, -1.0f, -1.0f, 0.0f, 0.0f});
  AudioChunk four = stereo;
  four.channels = 4;
  CHECK(convert("audio/mix", two, four, 1).samples == std::vector<float>{-0.25f, 0.125f});
}

TEST_CASE("an hour of audio is resampled in bounded memory", "[slow][audio]") {
  HarnessOptions options;
  options.inputs["audio"] = pcm(8000, 1);
  StageHarness harness(audio_stage("audio/resample"), Params({{"rate", std::int64_t{16000}}}), options);
  const auto second = std::make_shared<const AudioChunk>(tone(8000, 1, 1.0));
  std::size_t n = 0, largest = 0;
  for (int i = 0; i < 3600; ++i) {
    harness.feed("audio", Packet::data(second, std::chrono::seconds(i), std::chrono::seconds(1)));
    harness.run();
    for (const AudioChunk& chunk : harness.take_as<AudioChunk>("audio")) {
      n += chunk.n_frames();
      largest = std::max(largest, chunk.n_frames());
    }
  }
  harness.end("audio");
  harness.run();
  for (const AudioChunk& chunk : harness.take_as<AudioChunk>("audio")) n += chunk.n_frames();
  CHECK(n == 3600u * 16000u);
  CHECK(largest < 32000);
}
