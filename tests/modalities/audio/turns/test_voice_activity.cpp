// audio/voice_activity with Silero's weights, on the speech samples of the starter pack.
#include <filesystem>
#include <random>

#include "modalities/audio/io/sound_scratch.h"
#include "morph/model.h"

using namespace morph;
using namespace morph::testing;

namespace {

std::string sample(const std::string& name) { return (cache_folder() / "models" / "speech-samples" / name).string(); }

struct Turns {
  std::vector<std::string> events;  ///< without ticks
  std::vector<double> times_s;
  std::size_t n_ticks = 0, n_speech_frames = 0;
  std::vector<AudioChunk> chunks;
  std::vector<double> starts_s;
};

Turns detect(const std::vector<float>& samples, std::size_t n_piece = 512, const Params& params = {}) {
  StageHarness harness(audio_stage("audio/voice_activity"), params);
  for (std::size_t at = 0; at < samples.size(); at += n_piece) {
    AudioChunk chunk;
    chunk.rate_hz = 16000;
    const std::size_t end = std::min(samples.size(), at + n_piece);
    chunk.samples.assign(samples.begin() + static_cast<std::ptrdiff_t>(at),
                         samples.begin() + static_cast<std::ptrdiff_t>(end));
    harness.feed("audio", chunk);
  }
  harness.end("audio");
  const StepStatus status = harness.run();
  REQUIRE(status == StepStatus::done);
  Turns turns;
  for (const EventPayload& event : harness.take_as<EventPayload>("turns")) {
    if (event.name == "tick") {
      ++turns.n_ticks;
      continue;
    }
    turns.events.push_back(
        event.name + (event.values.has("pause_index") ? std::to_string(event.values.get_int("pause_index")) : ""));
    turns.times_s.push_back(event.values.get_double("time_s"));
  }
  for (const Packet& packet : harness.take("speech")) {
    turns.chunks.push_back(packet.as<AudioChunk>());
    turns.starts_s.push_back(static_cast<double>(packet.time.count()) * 1e-9);
    turns.n_speech_frames += turns.chunks.back().n_frames();
  }
  return turns;
}

std::vector<float> silence(double seconds) { return std::vector<float>(static_cast<std::size_t>(seconds * 16000)); }

std::vector<float> operator+(std::vector<float> a, const std::vector<float>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

TEST_CASE("silence and noise are no speech", "[weights][audio]") {
  std::vector<float> noise(16000 * 5);
  std::mt19937 random(1);
  for (float& x : noise) x = static_cast<float>(random() >> 8) * 0x1p-24f * 0.2f - 0.1f;
  for (const std::vector<float>& sound : {silence(5), noise}) {
    const Turns turns = detect(sound);
    CHECK(turns.events.empty());
    CHECK(turns.n_speech_frames == 0);
    CHECK(turns.n_ticks == 5 * 16000 / 512 + 1);
  }
}

TEST_CASE("speech between silences is one turn, whatever the chunks", "[weights][audio]") {
  const std::vector<float> voice = read_audio(sample("beckett.wav")).all.samples;
  const std::vector<float> sound = silence(1.0) + voice + silence(1.5);
  const Turns turns = detect(sound);
  REQUIRE(turns.events.size() >= 3);
  CHECK(turns.events.front() == "speech_start");
  CHECK(turns.events.back().substr(0, 3) == "end");
  CHECK(turns.times_s.front() > 1.0);
  CHECK(turns.times_s.front() < 2.5);
  CHECK(turns.times_s.back() > 9.0);
  // Markers in the audio say the same as the events.
  std::vector<std::string> markers;
  for (const AudioChunk& chunk : turns.chunks) {
    constexpr const char* kNames[] = {"", "speech_start", "pause", "resume", "end"};
    if (chunk.marker == TurnMarker::none) continue;
    markers.push_back(kNames[static_cast<std::size_t>(chunk.marker)] +
                      (chunk.pause_index > 0 ? std::to_string(chunk.pause_index) : ""));
  }
  CHECK(markers == turns.events);
  // The audio is the input's, from where its packet says.
  for (std::size_t i = 0; i < turns.chunks.size(); ++i) {
    const auto at = static_cast<std::size_t>(std::llround(turns.starts_s[i] * 16000));
    REQUIRE(std::equal(turns.chunks[i].samples.begin(), turns.chunks[i].samples.end(),
                       sound.begin() + static_cast<std::ptrdiff_t>(at)));
  }
  const Turns other = detect(sound, 3777);
  CHECK(other.events == turns.events);
  CHECK(other.times_s == turns.times_s);
  CHECK(other.n_speech_frames == turns.n_speech_frames);
}

TEST_CASE("two utterances are two turns", "[weights][audio]") {
  std::vector<float> voice = read_audio(sample("beckett.wav")).all.samples;
  voice.resize(16000 * 2);
  const Turns turns = detect(silence(0.5) + voice + silence(2.0) + voice + silence(1.0));
  std::size_t n_starts = 0, n_ends = 0;
  for (const std::string& event : turns.events) {
    n_starts += event == "speech_start";
    n_ends += event.substr(0, 3) == "end";
  }
  CHECK(n_starts == 2);
  CHECK(n_ends == 2);
}

TEST_CASE("an utterance that the input cuts off is ended", "[weights][audio]") {
  std::vector<float> voice = read_audio(sample("beckett.wav")).all.samples;
  voice.resize(16000 * 2 + 100);
  const Turns turns = detect(voice);
  REQUIRE_FALSE(turns.events.empty());
  CHECK(turns.events.back().substr(0, 3) == "end");
  CHECK(turns.chunks.back().marker == TurnMarker::end);
  CHECK(turns.n_speech_frames <= voice.size());
}

TEST_CASE("two runs of one stage do not mix", "[weights][audio]") {
  const std::vector<float> voice = read_audio(sample("beckett.wav")).all.samples;
  CHECK(detect(voice).times_s == detect(voice).times_s);
}

TEST_CASE("a flush drops the turn that is open, without an end, and what comes is judged anew", "[weights][audio]") {
  std::vector<float> voice = read_audio(sample("beckett.wav")).all.samples;
  voice.resize(16000 * 2);
  StageHarness harness(audio_stage("audio/voice_activity"));
  const auto events_of = [&](const std::vector<float>& samples) {
    AudioChunk chunk;
    chunk.rate_hz = 16000;
    chunk.samples = samples;
    harness.feed("audio", chunk);
    harness.run();
    std::vector<std::string> events;
    for (const EventPayload& event : harness.take_as<EventPayload>("turns"))
      if (event.name != "tick") events.push_back(event.name);
    return events;
  };
  CHECK(events_of(voice).front() == "speech_start");
  harness.flush(1);
  CHECK(events_of(silence(2.0)).empty());
  CHECK(events_of(voice).front() == "speech_start");
}

TEST_CASE("a file that is not Silero's detector is refused", "[unit][audio]") {
  const SoundScratch scratch;
  const std::string file = scratch.write("model.onnx", "not a model");
  CHECK(error_of([&] {
          StageHarness(audio_stage("audio/voice_activity"), Params({{"model", file}}));
        }).code() == ErrorCode::weights);
  CHECK(error_of([&] {
          StageHarness(audio_stage("audio/voice_activity"),
                       Params({{"model", std::filesystem::path(file).parent_path().string()}}));
        }).code() == ErrorCode::weights);
}
