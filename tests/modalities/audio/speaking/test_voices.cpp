// The published voices: Piper's token ids, samples that repeat, seams of a real reading. Skipped, by name, where the
// starter pack is not installed.
#include <catch2/catch.hpp>
#include <cmath>
#include <optional>

#include "case_file.h"
#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "speaking/phonemes.h"
#include "speaking/voice.h"
#include "testing/stage_harness.h"

namespace morph::audio {
void register_speak(morph::Registry&);
}

using namespace morph;
using morph::testing::StageHarness;

namespace {

std::optional<std::filesystem::path> installed(const std::string& name) {
  try {
    return ModelLocator().find(name);
  } catch (const Error& error) {
    WARN("skipped: " << error.what());
    return std::nullopt;
  }
}

std::vector<float> reading(const std::string& voice, const std::string& text, std::int64_t seed) {
  Registry registry;
  audio::register_speak(registry);
  StageHarness harness(*registry.find_stage("audio/speak"), Params({{"voice", voice}, {"seed", seed}}));
  Text whole;
  whole.utf8 = text;
  harness.feed("text", whole);
  harness.end("text");
  REQUIRE(harness.run() == StepStatus::done);
  std::vector<float> samples;
  for (const AudioChunk& chunk : harness.take_as<AudioChunk>("audio")) {
    CHECK(chunk.rate_hz == harness.output_format("audio").get_int("rate"));
    samples.insert(samples.end(), chunk.samples.begin(), chunk.samples.end());
  }
  CHECK(harness.metric("phonemes_skipped") == 0);
  return samples;
}

void check_sound(const std::vector<float>& samples, double seconds_low, double seconds_high, int rate_hz) {
  const double seconds = static_cast<double>(samples.size()) / rate_hz;
  CHECK(seconds > seconds_low);
  CHECK(seconds < seconds_high);
  double sum = 0, power = 0;
  float peak = 0;
  for (float sample : samples) {
    sum += sample;
    power += static_cast<double>(sample) * sample;
    peak = std::max(peak, std::abs(sample));
  }
  const auto n = static_cast<double>(samples.size());
  CHECK(std::abs(sum / n) < 1e-3);
  CHECK(std::sqrt(power / n) > 0.02);
  CHECK(peak < 1.0f);
}

}  // namespace

TEST_CASE("Piper's token ids are those of piper-tts", "[weights]") {
  const auto folder = installed("piper-en-us-joe");
  if (!folder) return;
  ModelStore models;
  const audio::VoiceFamily& family = audio::find_voice_family(*folder);
  CHECK(family.name == "vits_piper");
  const audio::VoiceInfo info = family.describe(*folder);
  CHECK(info.rate_hz == 22050);
  const auto voice = family.load(info, audio::VoiceLoad{models});
  const audio::EspeakProgram espeak;
  for (const auto& block : morph::testing::read_cases("phonemes/piper_en_us.case")) {
    INFO(block[0].second);
    const auto sentences = audio::split_utterances(block[0].second, 500);
    std::size_t sentence = 0;
    for (const auto& [key, value] : block) {
      if (key != "ids") continue;
      REQUIRE(sentence < sentences.size());
      const auto tokens = voice->tokens(audio::sentence_ipa(espeak, sentences[sentence++].text, info.espeak_voice));
      std::string ids;
      for (std::int64_t id : tokens.ids) ids += (ids.empty() ? "" : " ") + std::to_string(id);
      CHECK(ids == value);
      CHECK(tokens.n_skipped == 0);
    }
  }
}

TEST_CASE("a Piper voice repeats its samples for a seed", "[weights]") {
  if (!installed("piper-en-us-joe")) return;
  const std::string text = "Four hours of steady work, then 3 more, faced us. Yes!";
  const auto samples = reading("piper-en-us-joe", text, 1);
  check_sound(samples, 2.0, 6.0, 22050);
  CHECK(samples == reading("piper-en-us-joe", text, 1));
  CHECK(samples != reading("piper-en-us-joe", text, 2));
}

TEST_CASE("a Kokoro voice speaks English phonemes", "[weights]") {
  if (!installed("kokoro")) return;
  check_sound(reading("kokoro", "The boy was there when the sun rose.", 0), 1.5, 4.0, 24000);
}
