// Kokoro voices in their ONNX form: model.onnx (StyleTTS 2 text encoder, prosody and ISTFTNet decoder), vocab.json
// (phoneme to id) and voices/NAME.npy (style vectors by number of tokens).
// Paper: Li et al. 2023 (StyleTTS 2), arXiv 2306.07691. Token and style conventions are those of the ONNX export's own
// runner: ids between two zeros, style row = number of tokens. The graph has no random numbers: a text is always spoken
// the same way.
#include <algorithm>
#include <cmath>
#include <cstring>
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

constexpr std::size_t kMaxTokens = 508;  // the text encoder's 512 positions, less the two ends and a margin
constexpr std::int64_t kStyleWidth = 256;
constexpr int kRateHz = 24000;
constexpr std::uint64_t kMaxId = 1 << 20;  // the graph's table is smaller still; see KokoroVoice

// ------------------------------------------------------------------------------------------------------------- config

std::filesystem::path model_file(const std::filesystem::path& folder) {
  std::error_code failed;
  if (!std::filesystem::exists(folder / "vocab.json", failed) ||
      !std::filesystem::is_directory(folder / "voices", failed))
    return {};
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed))
    if (entry.path().extension() == ".onnx") found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found.empty() ? std::filesystem::path() : found.front();
}

std::map<std::string, std::int64_t> read_vocabulary(const std::filesystem::path& file) {
  try {
    const auto json = parse_bounded_json(read_voice_file(file), JsonLimits{}, ErrorCode::weights, file.string());
    std::map<std::string, std::int64_t> vocabulary;
    for (const auto& [phoneme, id] : json.at("vocab").get<std::map<std::string, nlohmann::json>>()) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() > kMaxId)
        throw Error(
            ErrorCode::weights, file.string() + "/vocab/" + shown_text(phoneme),
            "expected an id from 0 to " + std::to_string(kMaxId) + ", found another value; fetch the voice again");
      vocabulary[phoneme] = id.get<std::int64_t>();
    }
    if (vocabulary.empty()) throw Error(ErrorCode::weights, file.string() + "/vocab", "expected phonemes, found none");
    return vocabulary;
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::weights, file.string(), std::string("not a Kokoro vocabulary: ") + e.what());
  }
}

// ------------------------------------------------------------------------------------------------------------ weights

/// Style vectors of one speaker: little-endian f32 [n_rows, 1, 256] in NumPy's .npy version 1 or 2.
std::vector<float> read_styles(const std::filesystem::path& file) {
  const std::string bytes = read_voice_file(file);
  const auto wrong = [&](const std::string& message) { throw Error(ErrorCode::weights, file.string(), message); };
  if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0) wrong("expected a .npy file");
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
  const bool wide = byte(6) >= 2;
  const std::size_t start = wide ? 12 : 10;
  const std::size_t n_header = wide ? byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24 : byte(8) | byte(9) << 8;
  if (n_header > bytes.size() - start) wrong("truncated header");
  const std::string header = bytes.substr(start, n_header);
  if (header.find("'<f4'") == std::string::npos || header.find("'fortran_order': False") == std::string::npos)
    wrong("expected little-endian 32-bit floats in C order, found " + shown_text(header.substr(0, 200)));
  const std::size_t n_bytes = bytes.size() - start - n_header;
  const std::size_t n_row = kStyleWidth * sizeof(float);
  if (n_bytes == 0 || n_bytes % n_row != 0)
    wrong("expected rows of 256 floats, found " + std::to_string(n_bytes) + " bytes");
  const std::string rows = "'shape': (" + std::to_string(n_bytes / n_row);
  if (header.find(rows + ", 1, 256)") == std::string::npos && header.find(rows + ", 256)") == std::string::npos)
    wrong("expected " + rows + ", 1, 256) for its " + std::to_string(n_bytes) + " bytes, found " +
          shown_text(header.substr(0, 200)) + "; fetch the voice again");
  std::vector<float> styles(n_bytes / sizeof(float));
  std::memcpy(styles.data(), bytes.data() + start + n_header, n_bytes);
  if (!std::all_of(styles.begin(), styles.end(), [](float value) { return std::isfinite(value); }))
    wrong("expected numbers, found NaN or infinite ones among them; fetch the voice again");
  return styles;
}

// --------------------------------------------------------------------------------------------------------------- graph

class KokoroVoice final : public Voice {
 public:
  KokoroVoice(VoiceInfo info, std::shared_ptr<const openvino::OnnxModel> model)
      : info_(std::move(info)), vocabulary_(read_vocabulary(info_.folder / "vocab.json")), sessions_(std::move(model)) {
    for (const auto& [phoneme, id] : vocabulary_)
      check_ids(sessions_.model(), "tokens", id,
                (info_.folder / "vocab.json").string() + "/vocab/" + shown_text(phoneme));
    for (const std::string& speaker : info_.speakers)
      styles_.push_back(read_styles(info_.folder / "voices" / (speaker + ".npy")));
    const auto male = std::find(info_.speakers.begin(), info_.speakers.end(), "jm_kumo");
    if (male != info_.speakers.end()) default_speaker_ = static_cast<std::size_t>(male - info_.speakers.begin());
  }

  const VoiceInfo& info() const override { return info_; }

  VoiceTokens tokens(std::string_view ipa) const override {
    static constexpr std::string_view kSilent = ";:,.!?—…\"()“” ˈˌː";
    VoiceTokens tokens;
    tokens.ids.push_back(0);
    for (const std::string& phoneme : plain_phonemes(ipa)) {
      const auto found = vocabulary_.find(phoneme);
      if (found == vocabulary_.end() || tokens.ids.size() > kMaxTokens) {
        ++tokens.n_skipped;
        continue;
      }
      tokens.ids.push_back(found->second);
      if (kSilent.find(phoneme) == std::string_view::npos) ++tokens.n_spoken;
    }
    tokens.ids.push_back(0);
    return tokens;
  }

  std::vector<float> speak(const VoiceTokens& tokens, const SpeakOptions& options) const override {
    using openvino::OnnxTensor;
    const std::vector<float>& styles = styles_[speaker_index(info_, options.speaker, default_speaker_)];
    const std::size_t n_rows = styles.size() / kStyleWidth;
    const std::size_t row = std::min(tokens.ids.size() - 2, n_rows - 1);
    const std::vector<float> speed{static_cast<float>(options.speed)};
    openvino::OnnxTensors inputs;
    inputs.emplace("tokens", OnnxTensor::i64({1, static_cast<std::int64_t>(tokens.ids.size())}, tokens.ids));
    inputs.emplace("style",
                   OnnxTensor::f32({1, kStyleWidth}, std::span(styles).subspan(row * kStyleWidth, kStyleWidth)));
    inputs.emplace("speed", OnnxTensor::f32({1}, speed));
    const openvino::OnnxTensors outputs = sessions_.run(inputs, options.seed);
    const auto audio = outputs.find(std::string_view("audio"));  // [n_sample]
    if (audio == outputs.end())
      throw Error(ErrorCode::weights, info_.model_file.string(), "expected an output named \"audio\"");
    const auto samples = audio->second.values<float>();
    return {samples.begin(), samples.end()};
  }

 private:
  VoiceInfo info_;
  std::map<std::string, std::int64_t> vocabulary_;
  std::vector<std::vector<float>> styles_;
  std::size_t default_speaker_ = 0;
  SessionPool sessions_;
};

// --------------------------------------------------------------------------------------------------------------- entry

openvino::OnnxOptions onnx_options(const std::string& device, int n_threads) {
  openvino::OnnxOptions options;
  options.device = device;
  options.n_threads = n_threads;
  return options;
}

bool recognise(const std::filesystem::path& folder) { return !model_file(folder).empty(); }

VoiceInfo describe(const std::filesystem::path& folder) {
  VoiceInfo info;
  info.family = "kokoro";
  info.folder = folder;
  info.model_file = model_file(folder);
  info.rate_hz = kRateHz;
  info.espeak_voice = "en-us";
  info.language = "en";
  info.max_chars = 110;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "voices", failed))
    if (entry.path().extension() == ".npy") info.speakers.push_back(entry.path().stem().string());
  std::sort(info.speakers.begin(), info.speakers.end());
  if (info.speakers.empty())
    throw Error(ErrorCode::weights, (folder / "voices").string(), "expected style vectors (NAME.npy), found none");
  return info;
}

Estimate estimate(const VoiceInfo& info, std::uint64_t text_bytes) {
  Estimate cost = openvino::estimate_onnx(info.model_file, onnx_options("cpu", 1));
  // Activations: a process took 986 MiB for 10 characters, 1085 for 68 and 1093 for 844, which are divided, so 1.5 MiB
  // per character up to the usual sentence (fitted with kokoro-v1.0.int8).
  constexpr std::uint64_t kLongSentence = 80;
  cost.scratch += (std::min(text_bytes == 0 ? 50 : text_bytes, kLongSentence) * 15 / 10) << 20;
  cost.longest_step_ms = 10000;
  return cost;
}

std::shared_ptr<const Voice> load(const VoiceInfo& info, const VoiceLoad& load) {
  return std::make_shared<KokoroVoice>(
      info, openvino::OnnxModel::load(load.models, info.model_file, onnx_options(load.device, load.n_threads)));
}

constexpr VoiceFamily kFamily{
    "kokoro-onnx", "an .onnx graph, vocab.json and voices/NAME.npy", recognise, describe, estimate, load};

}  // namespace

void register_kokoro(Registry& registry) {
  registry.add_family(voice_family(kFamily, "Kokoro voices as an ONNX graph, vocab.json and voices/."));
}

}  // namespace morph::audio
