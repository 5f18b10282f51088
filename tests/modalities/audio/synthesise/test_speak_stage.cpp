// The stage audio/speak with a voice that hums its letters: utterances, chunks, answer positions, epochs, seams.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>

#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "synthesise/speak_stage.h"
#include "testing/stage_harness.h"

namespace morph::audio {
void register_speak(morph::Registry&);
}

using namespace morph;
using morph::testing::StageHarness;

namespace {

constexpr int kRate = 16000;

/// Every letter is 50 ms of a tone that jumps at both ends; the seed shifts its pitch. Takes letters, so that espeak-ng
/// is not needed.
class HummingVoice final : public audio::Voice {
 public:
  HummingVoice() {
    info_.folder = "humming";
    info_.rate_hz = kRate;
    info_.language = "en";
    info_.max_chars = 60;
  }
  const audio::VoiceInfo& info() const override { return info_; }
  audio::VoiceTokens tokens(std::string_view text) const override {
    audio::VoiceTokens tokens;
    for (char c : text) {
      if (c == 'q') ++tokens.n_skipped;
      if (c < 'a' || c > 'z' || c == 'q') continue;
      tokens.ids.push_back(c);
      ++tokens.n_spoken;
    }
    return tokens;
  }
  std::vector<float> speak(const audio::VoiceTokens& tokens, const audio::SpeakOptions& options) const override {
    const auto n = static_cast<std::size_t>(static_cast<double>(tokens.ids.size() * kRate / 20) / options.speed);
    std::vector<float> samples(n);
    const double hz = 150.0 + static_cast<double>(options.seed % 64);
    for (std::size_t i = 0; i < n; ++i)
      samples[i] = static_cast<float>(0.14 * std::cos(2 * std::numbers::pi * hz * static_cast<double>(i) / kRate));
    return samples;
  }

 private:
  audio::VoiceInfo info_;
};

struct Fixture {
  Registry registry;
  const StageSpec* spec;
  Fixture() {
    audio::register_speak(registry);
    spec = registry.find_stage("audio/speak");
  }
  std::unique_ptr<StageHarness> harness(const Params& params = {}, std::uint64_t seed = 0) const {
    testing::HarnessOptions options;
    options.params = params;
    options.seed = seed;
    return std::make_unique<StageHarness>(audio::make_speak_stage(std::make_shared<HummingVoice>()), *spec, options);
  }
};

Text answer(std::string text, std::size_t end, bool last = false) {
  Text piece;
  piece.utf8 = std::move(text);
  piece.answer_end = end;
  piece.last_of_answer = last;
  return piece;
}

std::vector<float> all_samples(const std::vector<AudioChunk>& chunks) {
  std::vector<float> samples;
  for (const AudioChunk& chunk : chunks) samples.insert(samples.end(), chunk.samples.begin(), chunk.samples.end());
  return samples;
}

}  // namespace

TEST_CASE("audio/speak sends chunks of about 100 ms that say what they speak", "[unit]") {
  const Fixture fixture;
  const auto harness = fixture.harness();
  harness->feed("text", answer("first words,", 12));
  harness->feed("text", answer(" second words.", 26, true));
  harness->end("text");
  REQUIRE(harness->run() == StepStatus::done);
  const auto packets = harness->take("audio");
  REQUIRE(packets.size() > 8);
  std::size_t heard = 0;
  StreamTime time{0};
  for (std::size_t i = 0; i < packets.size(); ++i) {
    const auto& chunk = packets[i].as<AudioChunk>();
    CHECK(chunk.rate_hz == kRate);
    CHECK(chunk.channels == 1);
    CHECK(chunk.n_frames() >= kRate / 20);
    CHECK(chunk.n_frames() <= kRate * 15 / 100);
    CHECK(chunk.answer_end >= heard);
    CHECK(std::abs((packets[i].time - time).count()) < 200000);
    time = packets[i].time + packets[i].duration;
    heard = chunk.answer_end;
    CHECK(chunk.last_of_answer == (i + 1 == packets.size()));
  }
  CHECK(heard == 26);
  CHECK(packets[0].as<AudioChunk>().answer_end > 0);
  CHECK(packets[0].as<AudioChunk>().answer_end < 12);
}

TEST_CASE("audio/speak joins clauses without clicks", "[unit]") {
  const Fixture fixture;
  const auto harness = fixture.harness();
  for (const char* text : {"one two three,", "four five.", "and on", "and on"}) harness->feed("text", answer(text, 0));
  harness->end("text");
  REQUIRE(harness->run() == StepStatus::done);
  const auto samples = all_samples(harness->take_as<AudioChunk>("audio"));
  REQUIRE(samples.size() > 1000);
  float largest = std::abs(samples.front());
  for (std::size_t i = 1; i < samples.size(); ++i) largest = std::max(largest, std::abs(samples[i] - samples[i - 1]));
  // The tone itself moves by at most 2 pi 213 / 16000 * 0.2 = 0.017 per sample; an unfaded end would jump by 0.14.
  CHECK(largest < 0.02f);
  CHECK(largest > 0.005f);
}

TEST_CASE("audio/speak pauses by punctuation", "[unit]") {
  const Fixture fixture;
  const auto seconds = [&](const char* first, double pause_ms) {
    const auto harness = fixture.harness(Params({{"pause_ms", pause_ms}}));
    harness->feed("text", answer(first, 0));
    harness->feed("text", answer("end.", 0));
    harness->end("text");
    REQUIRE(harness->run() == StepStatus::done);
    return double(all_samples(harness->take_as<AudioChunk>("audio")).size()) / kRate;
  };
  const double none = seconds("one.", 0);
  CHECK(seconds("one.", 400) - none == Approx(0.4).margin(0.001));
  CHECK(seconds("one,", 400) - none == Approx(0.2).margin(0.001));
  CHECK(seconds("one", 400) - none == Approx(0.08).margin(0.001));
}

TEST_CASE("audio/speak reads a whole document sentence by sentence", "[unit]") {
  const Fixture fixture;
  const auto harness = fixture.harness();
  Text text;
  for (int i = 0; i < 50; ++i) text.utf8 += "This is a sentence of the document. ";
  harness->feed("text", text);
  harness->end("text");
  // The first audio comes before the rest is made.
  CHECK(harness->step() == StepStatus::ready);
  CHECK(harness->step() == StepStatus::ready);
  harness->step();
  CHECK(!harness->take("audio").empty());
  CHECK(harness->metric("utterances") <= 2);
  CHECK(harness->progress() > 0.0);
  CHECK(harness->progress() < 0.1);
  REQUIRE(harness->run() == StepStatus::done);
  CHECK(harness->metric("utterances") == 50);
  CHECK(harness->progress() == 1.0);
}

TEST_CASE("audio/speak says nothing for what cannot be spoken, and counts it", "[unit]") {
  const Fixture fixture;
  const auto harness = fixture.harness();
  harness->feed("text", answer("", 0));
  harness->feed("text", answer("...", 3));
  harness->feed("text", answer("\xF0\x9F\x98\x80", 7));
  harness->feed("text", answer("qqq", 10));
  harness->feed("text", answer("", 10, true));
  harness->end("text");
  REQUIRE(harness->run() == StepStatus::done);
  const auto chunks = harness->take_as<AudioChunk>("audio");
  REQUIRE(chunks.size() == 1);  // the end of the answer is still told
  CHECK(chunks[0].samples.empty());
  CHECK(chunks[0].last_of_answer);
  CHECK(chunks[0].answer_end == 10);
  CHECK(harness->metric("texts_without_speech") == 4);
  CHECK(harness->metric("utterances_without_speech") == 1);
  CHECK(harness->metric("phonemes_skipped") == 3);
}

TEST_CASE("audio/speak stops between utterances on a flush and goes on in the new epoch", "[unit]") {
  const Fixture fixture;
  const auto harness = fixture.harness();
  Text text;
  for (int i = 0; i < 20; ++i) text.utf8 += "Old words here. ";
  harness->feed("text", text);
  for (int i = 0; i < 3; ++i) harness->step();
  harness->flush(5);
  harness->take("audio");
  Packet packet = Packet::data(std::make_shared<const Text>(answer("New.", 4, true)));
  packet.epoch = 5;
  harness->feed("text", packet);
  harness->end("text");
  REQUIRE(harness->run() == StepStatus::done);
  const auto packets = harness->take("audio");
  REQUIRE(!packets.empty());
  for (const Packet& sent : packets) CHECK(sent.epoch == 5);
  CHECK(harness->metric("utterances") <= 3);
  CHECK(packets.back().as<AudioChunk>().last_of_answer);
}

TEST_CASE("audio/speak takes back what it has not spoken when a text is revised", "[unit]") {
  const Fixture fixture;
  const auto harness = fixture.harness();
  Packet first = Packet::data(std::make_shared<const Text>(answer("One. Two. Three.", 16)));
  harness->feed("text", first);
  harness->step();
  Packet revised = Packet::data(std::make_shared<const Text>(answer("Four.", 5, true)));
  revised.kind = PacketKind::revise;
  revised.since = 0;
  harness->feed("text", revised);
  harness->end("text");
  REQUIRE(harness->run() == StepStatus::done);
  CHECK(harness->metric("utterances") < 5);
  CHECK(harness->take("audio").back().as<AudioChunk>().last_of_answer);
}

TEST_CASE("audio/speak supersedes what it has sent of a revised text", "[unit]") {
  const Fixture fixture;
  const auto harness = fixture.harness();
  harness->feed("text", answer("Kept.", 5));
  harness->run();
  const auto kept = harness->take("audio");
  REQUIRE(!kept.empty());
  Packet second = Packet::data(std::make_shared<const Text>(answer(" Wrong.", 12)));
  second.sequence = 1;
  harness->feed("text", second);
  harness->run();
  const auto wrong = harness->take("audio");
  REQUIRE(!wrong.empty());
  Packet revised = Packet::data(std::make_shared<const Text>(answer(" Right.", 12, true)));
  revised.kind = PacketKind::revise;
  revised.since = 1;
  revised.sequence = 2;
  harness->feed("text", revised);
  harness->end("text");
  REQUIRE(harness->run() == StepStatus::done);
  const auto right = harness->take("audio");
  REQUIRE(right.size() > 1);
  CHECK(right[0].kind == PacketKind::revise);
  CHECK(right[0].since == wrong[0].sequence);
  CHECK(right[1].kind == PacketKind::data);
  CHECK(right.back().as<AudioChunk>().last_of_answer);
}

TEST_CASE("audio/speak: same seed, same samples; another seed, others", "[unit]") {
  const Fixture fixture;
  const auto speak = [&](std::uint64_t run_seed, std::int64_t seed) {
    const auto harness = fixture.harness(Params({{"seed", seed}}), run_seed);
    harness->feed("text", answer("some words, then others.", 0));
    harness->end("text");
    REQUIRE(harness->run() == StepStatus::done);
    return all_samples(harness->take_as<AudioChunk>("audio"));
  };
  const auto samples = speak(1, 0);
  CHECK(samples == speak(1, 0));
  CHECK(samples != speak(2, 0));
  CHECK(samples != speak(1, 7));
}

TEST_CASE("audio/speak waits for room", "[unit]") {
  const Fixture fixture;
  const auto harness = fixture.harness();
  harness->set_space("audio", 2);
  harness->feed("text", answer("some words that take a while.", 0));
  harness->end("text");
  CHECK(harness->run() == StepStatus::output_full);
  CHECK(harness->take("audio").size() == 2);
}

TEST_CASE("audio/speak refuses an unknown speaker and a folder that is no voice", "[unit]") {
  const Fixture fixture;
  const auto code = [](const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  CHECK(code([&] { fixture.harness(Params({{"speaker", std::string("nobody")}})); }) == ErrorCode::config);
  CHECK(code([&] { Families().find(audio::kVoiceJob, std::filesystem::temp_directory_path() / "no-such-voice"); }) ==
        ErrorCode::weights);
}

TEST_CASE("audio/speak: runs with speeds of their own share a voice, and a speed can change between utterances",
          "[unit]") {
  const Fixture fixture;
  const std::shared_ptr<const Stage> stage = audio::make_speak_stage(std::make_shared<HummingVoice>());
  const auto open = [&](double speed) {
    testing::HarnessOptions options;
    options.params = Params({{"speed", speed}, {"pause_ms", 0.0}});
    return std::make_unique<StageHarness>(stage, *fixture.spec, options);
  };
  const auto length = [](StageHarness& harness) {
    harness.feed("text", answer("some words that take a while", 0));
    harness.run();
    return all_samples(harness.take_as<AudioChunk>("audio")).size();
  };
  const auto slow = open(1.0), fast = open(2.0);
  const std::size_t n_slow = length(*slow), n_fast = length(*fast);
  CHECK(n_fast < n_slow * 7 / 10);
  slow->control({std::string(kParamsChanged), 0, StreamTime{0}, Params({{"speed", 2.0}})});
  CHECK(length(*slow) == n_fast);
  REQUIRE(open(1.0)->losses().empty());
  slow->feed("text", answer("quiet", 0));  // this voice has no q
  slow->run();
  REQUIRE(slow->losses().size() == 1);
  CHECK(slow->losses()[0].what == "phoneme");
}
