// VITS voices in Piper's published form: NAME.onnx (text encoder, stochastic duration predictor, flow and HiFi-GAN
// decoder in one graph) and NAME.onnx.json (phoneme ids, rate, default scales). Papers: Kim et al. 2021 (VITS), arXiv
// 2106.06103. Conventions (ids with padding in between, scales) are Piper's. The graph draws noise in two places; the
// delegate replaces it by ours, so a seed repeats the samples.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/bounded_json.h"
#include "delegates/openvino/delegate.h"
#include "morph/error.h"
#include "morph/message.h"
#include "morph/registry.h"
#include "synthesise/phonemes.h"
#include "synthesise/session_pool.h"
#include "synthesise/voice.h"

namespace morph::audio {
namespace {

// ------------------------------------------------------------------------------------------------------------- config

struct PiperConfig {
  int rate_hz = 0;
  std::string espeak_voice;
  double noise_scale = 0.667, length_scale = 1.0, noise_w = 0.8;
  bool phonemes_are_text = false;  ///< characters instead of IPA
  int n_speakers = 1;
  std::size_t default_speaker = 0;
  std::vector<std::string> speakers;
  std::map<std::string, std::vector<std::int64_t>> ids;       ///< phoneme_id_map
  std::map<std::string, std::vector<std::string>> rewritten;  ///< phoneme_map
  std::vector<std::vector<std::string>> clusters;             ///< vowel_clusters, longest first

  void validate(const std::string& file) const {
    const auto wrong = [&](const std::string& key, const std::string& message) {
      throw Error(ErrorCode::weights, file + "/" + key, message);
    };
    for (const char* mark : {"_", "^", "$"})
      if (!ids.contains(mark) || ids.at(mark).empty())
        wrong("phoneme_id_map", std::string("expected an entry for \"") + mark + "\"");
    for (double scale : {noise_scale, length_scale, noise_w})
      if (!std::isfinite(scale) || scale < 0 || scale > 10) wrong("inference", "expected scales between 0 and 10");
  }
};

std::filesystem::path model_file(const std::filesystem::path& path) {
  const auto has_config = [](const std::filesystem::path& file) {
    return file.extension() == ".onnx" && std::filesystem::exists(file.string() + ".json");
  };
  if (has_config(path)) return path;
  std::vector<std::filesystem::path> found;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(path, failed))
    if (has_config(entry.path())) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found.empty() ? std::filesystem::path() : found.front();
}

constexpr std::int64_t kMaxId = 1 << 20;  // the graph's table is smaller still; see PiperVoice

/// Throws Error{weights} unless the value is a whole number within the bounds, as the JSON has it.
std::int64_t whole_number(const nlohmann::json& value, std::int64_t least, std::int64_t most,
                          const std::string& where) {
  const bool fits =
      value.is_number_integer() && (!value.is_number_unsigned() || value.get<std::uint64_t>() < 1ull << 62);
  if (fits && value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most) return value.get<std::int64_t>();
  throw Error(ErrorCode::weights, where,
              "expected a whole number from " + std::to_string(least) + " to " + std::to_string(most) + ", found " +
                  shown_text(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 80)) +
                  "; fetch the voice again");
}

PiperConfig parse_config(const std::string& text, const std::string& file) {
  PiperConfig config;
  try {
    const auto json = parse_bounded_json(text, JsonLimits{}, ErrorCode::weights, file);
    config.rate_hz =
        static_cast<int>(whole_number(json.at("audio").at("sample_rate"), 8000, 96000, file + "/audio.sample_rate"));
    config.espeak_voice = json.at("espeak").at("voice").get<std::string>();
    const auto inference = json.value("inference", nlohmann::json::object());
    config.noise_scale = inference.value("noise_scale", config.noise_scale);
    config.length_scale = inference.value("length_scale", config.length_scale);
    config.noise_w = inference.value("noise_w", config.noise_w);
    const std::string type = json.value("phoneme_type", "espeak");
    if (type != "espeak" && type != "text")
      throw Error(ErrorCode::weights, file + "/phoneme_type",
                  "expected \"espeak\" or \"text\", found \"" + shown_text(type) + "\"");
    config.phonemes_are_text = type == "text";
    config.n_speakers = static_cast<int>(
        whole_number(json.value("num_speakers", nlohmann::json(1)), 0, 100000, file + "/num_speakers"));
    const nlohmann::json first = json.value("default_speaker_id", nlohmann::json(0));
    config.default_speaker = static_cast<std::size_t>(
        whole_number(first, 0, std::max(1, config.n_speakers) - 1, file + "/default_speaker_id"));
    for (const auto& [phoneme, ids] : json.at("phoneme_id_map").get<std::map<std::string, nlohmann::json>>())
      for (const nlohmann::json& id : ids)
        config.ids[phoneme].push_back(whole_number(id, 0, kMaxId, file + "/phoneme_id_map/" + shown_text(phoneme)));
    if (json.contains("phoneme_map")) config.rewritten = json["phoneme_map"].get<decltype(config.rewritten)>();
    if (json.contains("vowel_clusters")) config.clusters = json["vowel_clusters"].get<decltype(config.clusters)>();
    if (config.n_speakers > 1) {
      config.speakers.resize(static_cast<std::size_t>(config.n_speakers));
      for (std::size_t i = 0; i < config.speakers.size(); ++i) config.speakers[i] = std::to_string(i);
      for (const auto& [name, id] : json.value("speaker_id_map", std::map<std::string, nlohmann::json>{}))
        config.speakers[static_cast<std::size_t>(
            whole_number(id, 0, config.n_speakers - 1, file + "/speaker_id_map/" + shown_text(name)))] = name;
    }
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::weights, file, std::string("not a Piper voice's configuration: ") + e.what());
  }
  std::stable_sort(config.clusters.begin(), config.clusters.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  config.validate(file);
  return config;
}

PiperConfig read_config(const std::filesystem::path& model) {
  const std::string file = model.string() + ".json";
  return parse_config(read_voice_file(file), file);
}

// ------------------------------------------------------------------------------------------------------------ phonemes

std::vector<std::string> phonemes_of(const PiperConfig& config, std::string_view ipa) {
  std::vector<std::string> phonemes;
  for (std::string& phoneme : decomposed_phonemes(ipa)) {
    const auto found = config.rewritten.find(phoneme);
    if (found == config.rewritten.end())
      phonemes.push_back(std::move(phoneme));
    else
      phonemes.insert(phonemes.end(), found->second.begin(), found->second.end());
  }
  std::vector<std::string> merged;
  for (std::size_t i = 0; i < phonemes.size();) {
    std::size_t taken = 1;
    for (const auto& cluster : config.clusters)
      if (cluster.size() > 1 && i + cluster.size() <= phonemes.size() &&
          std::equal(cluster.begin(), cluster.end(), phonemes.begin() + static_cast<std::ptrdiff_t>(i))) {
        taken = cluster.size();
        break;
      }
    std::string joined;
    for (std::size_t j = i; j < i + taken; ++j) joined += phonemes[j];
    merged.push_back(std::move(joined));
    i += taken;
  }
  return merged;
}

/// "^", then each phoneme followed by padding, then "$".
VoiceTokens piper_tokens(const PiperConfig& config, std::string_view ipa) {
  VoiceTokens tokens;
  const auto append = [&](const std::string& phoneme) {
    const auto& ids = config.ids.at(phoneme);
    tokens.ids.insert(tokens.ids.end(), ids.begin(), ids.end());
  };
  append("^");
  append("_");
  for (const std::string& phoneme : phonemes_of(config, ipa)) {
    if (!config.ids.contains(phoneme)) {
      ++tokens.n_skipped;
      continue;
    }
    append(phoneme);
    append("_");
    static constexpr std::string_view kSilent = " !'(),-.:;?ˈˌː";
    if (kSilent.find(phoneme) == std::string_view::npos) ++tokens.n_spoken;
  }
  append("$");
  return tokens;
}

// --------------------------------------------------------------------------------------------------------------- graph

/// Share of the published noise scales that is used unless told otherwise: readings vary a little less and are
/// understood better (word errors over 5 readings of 20 sentences, whisper-base: 6.0 % where the published scales
/// gave 8.7 %).
constexpr double kCalm = 0.7;

class PiperVoice final : public Voice {
 public:
  PiperVoice(VoiceInfo info, PiperConfig config, std::shared_ptr<const openvino::OnnxModel> model)
      : info_(std::move(info)), config_(std::move(config)), sessions_(std::move(model)) {
    const auto& ports = sessions_.model().inputs();
    for (const openvino::OnnxPort& port : ports) takes_speaker_ = takes_speaker_ || port.name == "sid";
    for (const char* name : {"input", "input_lengths", "scales"})
      if (std::none_of(ports.begin(), ports.end(), [&](const openvino::OnnxPort& port) { return port.name == name; }))
        throw Error(
            ErrorCode::weights, info_.model_file.string(),
            std::string("expected Piper's inputs input, input_lengths and scales; \"") + name + "\" is missing");
    const std::string file = info_.model_file.string() + ".json";
    for (const auto& [phoneme, ids] : config_.ids)
      for (const std::int64_t id : ids)
        check_ids(sessions_.model(), "input", id, file + "/phoneme_id_map/" + shown_text(phoneme));
    if (takes_speaker_)
      check_ids(sessions_.model(), "sid", std::max(1, config_.n_speakers) - 1, file + "/num_speakers");
  }

  const VoiceInfo& info() const override { return info_; }
  VoiceTokens tokens(std::string_view ipa) const override { return piper_tokens(config_, ipa); }

  std::vector<float> speak(const VoiceTokens& tokens, const SpeakOptions& options) const override {
    using openvino::OnnxTensor;
    const auto n = static_cast<std::int64_t>(tokens.ids.size());
    const std::vector<std::int64_t> lengths{n};
    const std::vector<float> scales{static_cast<float>(options.noise.value_or(kCalm * config_.noise_scale)),
                                    static_cast<float>(config_.length_scale / options.speed),
                                    static_cast<float>(options.noise_timing.value_or(kCalm * config_.noise_w))};
    openvino::OnnxTensors inputs;
    inputs.emplace("input", OnnxTensor::i64({1, n}, tokens.ids));  // [1, n_token]
    inputs.emplace("input_lengths", OnnxTensor::i64({1}, lengths));
    inputs.emplace("scales", OnnxTensor::f32({3}, scales));
    const std::size_t speaker = speaker_index(info_, options.speaker, config_.default_speaker);
    if (takes_speaker_) {
      const std::vector<std::int64_t> sid{static_cast<std::int64_t>(speaker)};
      inputs.emplace("sid", OnnxTensor::i64({1}, sid));
    }
    const openvino::OnnxTensors outputs = sessions_.run(inputs, options.seed);
    const auto audio = outputs.find(std::string_view("output"));  // [1, 1, 1, n_sample]
    if (audio == outputs.end())
      throw Error(ErrorCode::weights, info_.model_file.string(), "expected an output named \"output\"");
    const auto samples = audio->second.values<float>();
    return {samples.begin(), samples.end()};
  }

 private:
  VoiceInfo info_;
  PiperConfig config_;
  SessionPool sessions_;
  bool takes_speaker_ = false;
};

// --------------------------------------------------------------------------------------------------------------- entry

openvino::OnnxOptions onnx_options(const std::string& device, int n_threads) {
  openvino::OnnxOptions options;
  options.device = device;
  options.n_threads = n_threads;
  options.seeded_noise = true;
  return options;
}

bool recognise(const std::filesystem::path& folder) { return !model_file(folder).empty(); }

VoiceInfo describe(const std::filesystem::path& folder) {
  const std::filesystem::path model = model_file(folder);
  const PiperConfig config = read_config(model);
  VoiceInfo info;
  info.family = "vits_piper";
  info.folder = folder;
  info.model_file = model;
  info.rate_hz = config.rate_hz;
  info.espeak_voice = config.phonemes_are_text ? "" : config.espeak_voice;
  info.language = config.espeak_voice.substr(0, config.espeak_voice.find('-'));
  info.speakers = config.speakers;
  info.max_chars = 90;  // longer ones are cut at clauses: memory grows with the longest (see estimate)
  return info;
}

Estimate estimate(const VoiceInfo& info, std::uint64_t text_bytes) {
  Estimate cost = openvino::estimate_onnx(info.model_file, onnx_options("cpu", 1));
  // Measured: the decoder's activations and the kernels kept for a length grow by 1.8 MiB per character of the longest
  // utterance, and the kernels of further lengths add some 20 MiB. Where a longer text will be divided is not known
  // here: 80 lies between its usual sentences (70) and the limit (90). Of an answer that is still to be given nothing
  // is known; what assistants took lies some 90 MiB either side of what 13 characters would.
  constexpr std::uint64_t kLongSentence = 80, kAnswer = 13;
  const std::uint64_t longest = text_bytes == 0 ? kAnswer : std::min(text_bytes, kLongSentence);
  const std::uint64_t further = text_bytes > info.max_chars ? 20 : 0;
  cost.scratch += (80 + longest * 18 / 10 + further) << 20;
  cost.longest_step_ms = 1500;
  return cost;
}

std::shared_ptr<const Voice> load(const VoiceInfo& info, const VoiceLoad& load) {
  return std::make_shared<PiperVoice>(
      info, read_config(info.model_file),
      openvino::OnnxModel::load(load.models, info.model_file, onnx_options(load.device, load.n_threads)));
}

constexpr VoiceFamily kFamily{"vits_piper", "NAME.onnx with NAME.onnx.json", recognise, describe, estimate, load};

}  // namespace

void register_vits_piper(Registry& registry) {
  registry.add_family(voice_family(kFamily, "VITS voices as Piper publishes them (ONNX and its JSON)."));
}

}  // namespace morph::audio
