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
#include "skipped.h"
#include "synthesise/phonemes.h"
#include "synthesise/voice.h"
#include "testing/stage_harness.h"

namespace morph::audio {
void register_speak(morph::Registry&);
void register_kokoro(morph::Registry&);
void register_vits_piper(morph::Registry&);
}  // namespace morph::audio

using namespace morph;
using morph::testing::StageHarness;

namespace {

std::optional<std::filesystem::path> installed(const std::string& name) {
  try {
    return ModelLocator().find(name);
  } catch (const Error& error) {
    morph::testing::skipped(error.what());
    return std::nullopt;
  }
}

std::vector<float> reading(const std::string& voice, const std::string& text, std::int64_t seed) {
  Registry registry;
  audio::register_speak(registry);  // families may come after the stage
  audio::register_kokoro(registry);
  audio::register_vits_piper(registry);
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
  Registry registry;
  audio::register_vits_piper(registry);
  const Families& families = *registry.part<Families>();
  CHECK(families.find(audio::kVoiceJob, *folder).name == "vits_piper");
  const audio::VoiceInfo info = *families.describe<audio::VoiceInfo>(audio::kVoiceJob, *folder);
  CHECK(info.rate_hz == 22050);
  const auto voice = families.create<audio::Voice>(audio::kVoiceJob, *folder, {}, models);
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

TEST_CASE("published voices last and sound as under onnxruntime", "[weights]") {
  // onnxruntime 1.32 on the same tokens, Piper without noise: samples, and the level of each eighth of them.
  struct Reference {
    std::string model;
    std::size_t n_samples;
    std::vector<float> levels;
    double tolerance;
  };
  // The two libraries quantise Kokoro's activations apart: onnxruntime's voice is an eighth louder throughout.
  const std::vector<Reference> references = {
      {"piper-en-us-joe", 36096, {0.10412f, 0.08859f, 0.0475f, 0.00012f, 0.03015f, 0.04711f, 0.05091f, 0.00345f}, 0.01},
      {"kokoro", 48600, {0.00004f, 0.11176f, 0.21657f, 0.09909f, 0.06904f, 0.04905f, 0.00046f, 0.00003f}, 0.2}};
  Registry registry;
  audio::register_kokoro(registry);
  audio::register_vits_piper(registry);
  for (const Reference& reference : references) {
    const auto folder = installed(reference.model);
    if (!folder) continue;
    INFO(reference.model);
    ModelStore models;
    const auto voice = registry.part<Families>()->create<audio::Voice>(audio::kVoiceJob, *folder, {}, models);
    audio::SpeakOptions options;
    options.noise = options.noise_timing = 0;
    const auto samples = voice->speak(voice->tokens("həlˈoʊ ðˈɛɹ, maɪ fɹˈɛnd."), options);
    REQUIRE(samples.size() == reference.n_samples);
    const std::size_t n_part = samples.size() / 8;
    for (std::size_t part = 0; part < 8; ++part) {
      double power = 0;
      for (std::size_t i = part * n_part; i < (part + 1) * n_part; ++i)
        power += static_cast<double>(samples[i]) * samples[i];
      const double level = std::sqrt(power / static_cast<double>(n_part));
      INFO("part " << part);
      CHECK(std::abs(level - reference.levels[part]) < reference.tolerance * reference.levels[part] + 2e-4);
    }
  }
}

TEST_CASE("published voices verify, a damaged one does not", "[weights]") {
  Registry registry;
  audio::register_kokoro(registry);
  audio::register_vits_piper(registry);
  for (const auto& [name, family] : registry.families()) {
    const auto folder = installed(name == "vits_piper" ? "piper-en-us-joe" : "kokoro");
    if (!folder) continue;
    INFO(name);
    const auto rows = family.verify(*folder, "cpu");
    CHECK(rows.size() == 4);
    for (const VerifyRow& row : rows) {
      INFO(row.name << ": " << row.note);
      CHECK(row.status == "pass");
    }
  }
  // A voice that hums one note too quietly, and never the same twice.
  class Hum final : public audio::Voice {
   public:
    Hum() { info_.rate_hz = 1000; }
    const audio::VoiceInfo& info() const override { return info_; }
    audio::VoiceTokens tokens(std::string_view) const override { return {std::vector<std::int64_t>(12, 1), 12, 1}; }
    std::vector<float> speak(const audio::VoiceTokens&, const audio::SpeakOptions&) const override {
      return std::vector<float>(200, 1e-4f * static_cast<float>(++n_));
    }

   private:
    audio::VoiceInfo info_;
    mutable int n_ = 0;
  };
  const audio::VoiceFamily family{
      "hum",
      "nothing",
      [](const std::filesystem::path&) { return true; },
      [](const std::filesystem::path&) { return Hum().info(); },
      [](const audio::VoiceInfo&, std::uint64_t) { return Estimate{}; },
      [](const audio::VoiceInfo&, const audio::VoiceLoad&) -> std::shared_ptr<const audio::Voice> {
        return std::make_shared<Hum>();
      },
      nullptr};
  const auto rows = audio::verify_voice(family, ".", "cpu");
  REQUIRE(rows.size() == 4);
  for (const VerifyRow& row : rows) {
    INFO(row.name << ": " << row.note);
    CHECK(row.status == "fail");
  }
}

TEST_CASE("a Kokoro voice speaks English phonemes", "[weights]") {
  if (!installed("kokoro")) return;
  check_sound(reading("kokoro", "The boy was there when the sun rose.", 0), 1.5, 4.0, 24000);
}
