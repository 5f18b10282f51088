// The transcription stage with a real model (skipped where the starter pack is not fetched): recordings, turns,
// silence, refusals.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "skipped.h"
#include "testing/stage_harness.h"

namespace fs = std::filesystem;

namespace morph::audio {
void register_transcribe(Registry& registry);
void register_whisper(Registry& registry);

namespace {

using morph::testing::HarnessOptions;
using morph::testing::StageHarness;

const StageSpec& spec() {
  static const auto registry = [] {
    auto made = std::make_unique<Registry>();
    register_whisper(*made);
    register_transcribe(*made);
    return made;
  }();
  return *registry->find_stage("audio/transcribe");
}

HarnessOptions options(const std::string& type) {
  HarnessOptions made;
  made.inputs["audio"] = Format{type, {{"rate", std::int64_t{16000}}, {"channels", std::int64_t{1}}}};
  made.n_threads = 2;
  return made;
}

/// 16-bit mono samples behind a 44-byte header: the sample clip. Empty when the pack is not there.
std::vector<float> clip() {
  std::ifstream in(cache_folder() / "models" / "speech-samples" / "beckett.wav", std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::vector<float> samples;
  for (std::size_t i = 44; i + 1 < bytes.size(); i += 2)
    samples.push_back(static_cast<float>(static_cast<std::int16_t>(static_cast<unsigned char>(bytes[i]) |
                                                                   (static_cast<unsigned char>(bytes[i + 1]) << 8))) /
                      32768.0f);
  return samples;
}

bool have_model() {
  const bool there = fs::exists(cache_folder() / "models" / "whisper-tiny.en" / "model.safetensors");
  if (!there) morph::testing::skipped("whisper-tiny.en is not fetched");
  return there;
}

AudioChunk chunk(std::span<const float> samples, TurnMarker marker = TurnMarker::none, bool speech = true,
                 std::uint64_t pause_index = 0) {
  AudioChunk made;
  made.samples.assign(samples.begin(), samples.end());
  made.rate_hz = 16000;
  made.marker = marker;
  made.speech = speech;
  made.pause_index = pause_index;
  return made;
}

const Params kTiny(std::map<std::string, Value>{{"model", std::string("whisper-tiny.en")}});

TEST_CASE("transcribe: refusals", "[unit]") {
  const std::string small = morph::testing::own_golden_set("whisper").string();
  const Params toy(std::map<std::string, Value>{{"model", small}});
  CHECK_THROWS_WITH(StageHarness(spec(), toy, options("audio/pcm")), Catch::Contains("tokenizer"));
  const Params absent(std::map<std::string, Value>{{"model", std::string("no-such-model")}});
  CHECK_THROWS_AS(StageHarness(spec(), absent, options("audio/pcm")), Error);
}

TEST_CASE("transcribe: a recording", "[weights]") {
  if (!have_model()) return;
  StageHarness harness(spec(), kTiny, options("audio/pcm"));
  harness.feed("audio", chunk(clip()));
  harness.end("audio");
  CHECK(harness.run() == StepStatus::done);
  const auto texts = harness.take_as<Text>("text");
  REQUIRE(texts.size() == 1);
  CHECK(texts[0].turn_state == TurnState::final);
  CHECK_THAT(texts[0].utf8, Catch::Contains("Fail again") && Catch::StartsWith("Ever tried"));
  REQUIRE_FALSE(texts[0].spans.empty());
  CHECK(texts[0].spans.back().end_s <= 10.0);
  CHECK(texts[0].spans.back().end_s > 7.0);
  CHECK(texts[0].language == "en");
}

TEST_CASE("transcribe: silence, noise and nothing give no words", "[weights]") {
  if (!have_model()) return;
  std::mt19937 random(7);
  std::vector<float> noise(16000 * 8);
  for (float& x : noise) x = 0.003f * (static_cast<float>(random()) / 2147483648.0f - 1.0f);
  for (const auto& samples : {std::vector<float>(16000 * 40), std::vector<float>{}, noise}) {
    StageHarness harness(spec(), kTiny, options("audio/pcm"));
    harness.feed("audio", chunk(samples));
    harness.end("audio");
    CHECK(harness.run() == StepStatus::done);
    const auto texts = harness.take_as<Text>("text");
    REQUIRE(texts.size() >= 1);
    CHECK(texts.back().turn_state == TurnState::final);
    CHECK(texts.back().utf8 == "");
  }
}

TEST_CASE("transcribe: turns", "[weights]") {
  if (!have_model()) return;
  const std::vector<float> samples = clip();
  const std::vector<float> hush(8000);
  StageHarness harness(spec(), kTiny, options("audio/speech"));
  const auto say = [&](std::uint64_t pause) {
    for (std::size_t i = 0; i < samples.size(); i += 4800)
      harness.feed("audio", chunk(std::span(samples).subspan(i, std::min<std::size_t>(4800, samples.size() - i)),
                                  i == 0 ? TurnMarker::speech_start : TurnMarker::none));
    harness.feed("audio", chunk(hush, TurnMarker::pause, false, pause));
    harness.feed("audio", chunk(hush, TurnMarker::end, false, pause));
    CHECK(harness.run() == StepStatus::need_input);
    return harness.take("text");
  };
  for (std::uint64_t turn = 1; turn <= 2; ++turn) {
    const std::vector<Packet> packets = say(turn);
    REQUIRE(packets.size() >= 4);
    CHECK(packets[0].kind == PacketKind::data);
    std::string stable;
    for (std::size_t i = 1; i < packets.size(); ++i) {
      CHECK(packets[i].kind == PacketKind::revise);
      CHECK(packets[i].since == packets[0].sequence);
    }
    for (const Packet& packet : packets) {
      const Text& text = packet.as<Text>();
      CAPTURE(text.utf8, stable);
      if (text.turn_state == TurnState::partial) {
        CHECK(text.utf8.substr(0, stable.size()) == stable);
        REQUIRE(text.stable_bytes <= text.utf8.size());
        stable = text.utf8.substr(0, text.stable_bytes);
      }
    }
    const Text& tentative = packets[packets.size() - 2].as<Text>();
    const Text& final = packets.back().as<Text>();
    CHECK(tentative.turn_state == TurnState::tentative);
    CHECK(tentative.pause_index == turn);
    CHECK(final.turn_state == TurnState::final);
    CHECK(final.pause_index == turn);
    CHECK(final.utf8 == tentative.utf8);
    CHECK_THAT(final.utf8, Catch::Contains("ail again"));
  }
  harness.end("audio");
  CHECK(harness.run() == StepStatus::done);
  CHECK(harness.take("text").empty());
}

TEST_CASE("transcribe: a silence that may be a pause is not spent on a partial text", "[weights]") {
  if (!have_model()) return;
  const std::vector<float> samples = clip();
  REQUIRE(samples.size() > 72000);
  const Params params(
      std::map<std::string, Value>{{"model", std::string("whisper-tiny.en")}, {"partial_interval", 3.0}});
  StageHarness harness(spec(), params, options("audio/speech"));
  const std::span<const float> said(samples);
  harness.feed("audio", chunk(said.first(46400), TurnMarker::speech_start));  // 2.9 s of the 3 s between partial texts
  for (std::size_t i = 0; i < 5; ++i)
    harness.feed("audio", chunk(said.subspan(46400 + i * 1600, 1600), TurnMarker::none, false));
  CHECK(harness.run() == StepStatus::need_input);
  CHECK(harness.take("text").empty());
  harness.feed("audio", chunk(said.subspan(54400, 16000)));
  CHECK(harness.run() == StepStatus::need_input);
  CHECK(harness.take("text").size() == 1);
}

TEST_CASE("transcribe: recordings of several runs are heard together, each as it is alone", "[weights]") {
  if (!have_model()) return;
  const std::vector<float> samples = clip();
  StageHarness maker(spec(), kTiny, options("audio/pcm"));
  const std::shared_ptr<const Stage> stage(std::shared_ptr<void>(), &maker.stage());  // the harness keeps it
  HarnessOptions with_params = options("audio/pcm");
  with_params.params = morph::testing::with_defaults(spec(), kTiny);
  for (const bool strict : {true, false}) {
    with_params.strict = strict;
    const auto begin = [&](std::size_t cut) {
      auto harness = std::make_unique<StageHarness>(stage, spec(), with_params);
      harness->feed("audio", chunk(std::span(samples).first(samples.size() - cut)));
      harness->end("audio");
      return harness;
    };
    std::vector<std::string> alone;
    std::vector<std::unique_ptr<StageHarness>> runs;
    for (std::size_t i = 0; i < 3; ++i) {
      const auto single = begin(8000 * i);
      CHECK(single->run() == StepStatus::done);
      alone.push_back(single->take_as<Text>("text").back().utf8);
      runs.push_back(begin(8000 * i));
    }
    std::vector<StepItem> items;
    for (const auto& run : runs) items.push_back({&run->state(), &run->io()});
    for (int step = 0; step < 200 && !items.empty(); ++step) {
      stage->step(items);
      std::erase_if(items, [](const StepItem& item) { return item.status == StepStatus::done; });
    }
    CHECK(items.empty());
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const std::string text = runs[i]->take_as<Text>("text").back().utf8;
      if (strict)
        CHECK(text == alone[i]);
      else
        CHECK_THAT(text, Catch::StartsWith("Ever tried"));
    }
  }
}

TEST_CASE("transcribe: a cancel ends a step", "[weights]") {
  if (!have_model()) return;
  StageHarness harness(spec(), kTiny, options("audio/pcm"));
  harness.feed("audio", chunk(clip()));
  harness.end("audio");
  harness.cancel();
  try {
    harness.run();
    FAIL("a cancelled step went on");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::cancelled);
  }
}

}  // namespace
}  // namespace morph::audio
