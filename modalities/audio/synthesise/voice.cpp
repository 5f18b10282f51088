// A voice family's entry in the registry, and what is verified of a voice.
#include "synthesise/voice.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "morph/error.h"
#include "morph/regular_file.h"

namespace morph::audio {

FamilySpec voice_family(const VoiceFamily& family, std::string help) {
  FamilySpec spec;
  spec.name = family.name;
  spec.job = kVoiceJob;
  spec.help = std::move(help);
  spec.files = family.files;
  spec.recognise = family.recognise;
  spec.describe = [family](const std::filesystem::path& folder) {
    return std::make_shared<const VoiceInfo>(family.describe(folder));
  };
  spec.estimate = [family](const std::filesystem::path& folder, const FamilyUse& use) {
    return family.estimate(family.describe(folder), use.source_bytes);
  };
  spec.create = [family](const std::filesystem::path& folder, const FamilyUse& use, ModelStore& models,
                         const std::function<void(double)>&) -> std::shared_ptr<const Model> {
    return family.load(family.describe(folder), VoiceLoad{models, use.device, use.n_threads});
  };
  spec.verify = [family](const std::filesystem::path& folder, const std::string& device) {
    return family.verify != nullptr ? family.verify(folder, device) : verify_voice(family, folder, device);
  };
  return spec;
}

std::vector<VerifyRow> verify_voice(const VoiceFamily& family, const std::filesystem::path& folder,
                                    const std::string& device) {
  ModelStore models;
  const VoiceInfo info = family.describe(folder);
  const std::shared_ptr<const Voice> voice = family.load(info, VoiceLoad{models, device, 1});
  // "Hello there, my friend." in letters for a voice that takes letters.
  const VoiceTokens tokens =
      voice->tokens(info.espeak_voice.empty() ? "hello there, my friend." : "həlˈoʊ ðˈɛɹ, maɪ fɹˈɛnd.");
  SpeakOptions options;
  options.seed = 1;
  const std::vector<float> samples = voice->speak(tokens, options), again = voice->speak(tokens, options);

  std::vector<VerifyRow> rows;
  const auto row = [&](const char* name, bool good, double worst, std::string note) {
    rows.push_back({name, "voice", good ? "pass" : "fail", 0, worst, std::move(note), device + ", as published", 0});
  };
  row("tokens", tokens.n_spoken >= 10 && tokens.n_skipped == 0, static_cast<double>(tokens.n_skipped),
      std::to_string(tokens.n_spoken) + " phonemes spoken, " + std::to_string(tokens.n_skipped) + " unknown");
  double power = 0, peak = 0;
  bool finite = true;
  for (const float sample : samples) {
    finite = finite && std::isfinite(sample);
    power += static_cast<double>(sample) * sample;
    peak = std::max(peak, std::abs(static_cast<double>(sample)));
  }
  const double level = std::sqrt(power / static_cast<double>(std::max<std::size_t>(1, samples.size())));
  row("audio", finite && level > 0.005 && level < 0.5 && peak < 2, peak,
      "level " + std::to_string(level) + ", expected 0.005 to 0.5");
  const double seconds = static_cast<double>(samples.size()) / info.rate_hz;
  const double per_phoneme = seconds / static_cast<double>(std::max<std::size_t>(1, tokens.n_spoken));
  row("duration", per_phoneme > 0.04 && per_phoneme < 0.3, seconds,
      std::to_string(per_phoneme) + " s for a phoneme, expected 0.04 to 0.3");
  double difference = samples.size() == again.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(samples.size(), again.size()); ++i)
    difference = std::max(difference, std::abs(static_cast<double>(samples[i]) - again[i]));
  row("repeat", difference == 0, difference, "spoken twice with one seed");
  return rows;
}

std::string read_voice_file(const std::filesystem::path& file) {
  return read_regular_file(file, 64u << 20, ErrorCode::weights);
}

void check_ids(const openvino::OnnxModel& model, std::string_view input, std::int64_t largest,
               const std::string& where) {
  for (const openvino::OnnxPort& port : model.inputs())
    if (port.name == input && port.table_rows > 0 && largest >= port.table_rows)
      throw Error(ErrorCode::weights, where,
                  "expected ids below " + std::to_string(port.table_rows) + ", the rows of the table that " +
                      model.file().filename().string() + " looks them up in, found " + std::to_string(largest) +
                      "; the two files are not of one voice: fetch them again");
}

std::size_t speaker_index(const VoiceInfo& info, const std::string& speaker, std::size_t default_index) {
  if (speaker.empty()) return default_index;
  const auto found = std::find(info.speakers.begin(), info.speakers.end(), speaker);
  if (found != info.speakers.end()) return static_cast<std::size_t>(found - info.speakers.begin());
  std::size_t index = 0;
  const auto parsed = std::from_chars(speaker.data(), speaker.data() + speaker.size(), index);
  const std::size_t n = std::max<std::size_t>(1, info.speakers.size());
  if (parsed.ec == std::errc{} && parsed.ptr == speaker.data() + speaker.size() && index < n) return index;
  std::string names;
  for (std::size_t i = 0; i < std::min<std::size_t>(info.speakers.size(), 20); ++i)
    names += (i == 0 ? "" : ", ") + info.speakers[i];
  throw Error(ErrorCode::config, "audio/speak/speaker",
              "no speaker \"" + speaker + "\" in voice " + info.folder.filename().string() +
                  (names.empty() ? "; it has one speaker, leave the parameter out" : "; it has " + names));
}

}  // namespace morph::audio
