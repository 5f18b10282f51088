// Voice: the job of any speech synthesiser that takes phonemes or letters, and what the stage audio/speak needs of it.
// A family is one file in modalities/audio/families/, which registers a VoiceFamily.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "delegates/openvino/delegate.h"
#include "morph/model.h"
#include "morph/registry.h"
#include "morph/stage.h"

namespace morph::audio {

inline constexpr std::string_view kVoiceJob = "voice";

/// What is known of a voice from its small files.
struct VoiceInfo : ModelInfo {
  std::string family;                ///< "vits_piper"
  std::filesystem::path folder;      ///< as found
  std::filesystem::path model_file;  ///< the ONNX graph
  int rate_hz = 0;
  std::string espeak_voice;           ///< "en-us"; empty: the voice takes letters, not phonemes
  std::string language;               ///< ISO 639-1, chooses the speech normaliser
  std::vector<std::string> speakers;  ///< by index; empty when there is one
  /// Longest utterance in bytes of speakable text, so that a step stays short and the model within its training
  /// lengths.
  std::size_t max_chars = 200;
};

struct SpeakOptions {
  double speed = 1.0;                  ///< 2 = twice as fast
  std::optional<double> noise;         ///< variation of the sound; the voice's own when absent
  std::optional<double> noise_timing;  ///< variation of the durations
  std::string speaker;                 ///< name or index; empty: the voice's default
  std::uint64_t seed = 0;              ///< same seed and tokens: same samples
};

struct VoiceTokens {
  std::vector<std::int64_t> ids;
  std::size_t n_spoken = 0;   ///< phonemes among them that sound (no padding, marks, spaces)
  std::size_t n_skipped = 0;  ///< phonemes that the voice does not know
};

/// Loaded weights of a voice. Immutable, thread-safe.
class Voice : public Model {
 public:
  virtual const VoiceInfo& info() const = 0;
  /// Tokens of a sentence's IPA with clause marks (sentence_ipa).
  virtual VoiceTokens tokens(std::string_view ipa) const = 0;
  /// Mono samples at info().rate_hz, unshaped. Takes the thread budget given at load. Throws Error{config} for an
  /// unknown speaker, Error{internal} when the graph fails.
  virtual std::vector<float> speak(const VoiceTokens& tokens, const SpeakOptions& options) const = 0;
};

struct VoiceLoad {
  ModelStore& models;
  std::string device = "cpu";
  int n_threads = 1;
};

/// A family of voices. Functions may be called from any thread.
struct VoiceFamily {
  std::string_view name;
  std::string_view files;  ///< what a folder of it holds, for the error that no family knows a folder
  bool (*recognise)(const std::filesystem::path& folder);
  /// Reads small files only. Throws Error{weights} naming the file and key that is wrong.
  VoiceInfo (*describe)(const std::filesystem::path& folder);
  /// `text_bytes`: of the whole text when it is known, else 0.
  Estimate (*estimate)(const VoiceInfo& info, std::uint64_t text_bytes);
  std::shared_ptr<const Voice> (*load)(const VoiceInfo& info, const VoiceLoad& load);
  /// Rows of `morph verify`; null: verify_voice().
  std::vector<VerifyRow> (*verify)(const std::filesystem::path& folder, const std::string& device) = nullptr;
};

/// Its entry in the registry.
FamilySpec voice_family(const VoiceFamily& family, std::string help);

/// What `morph verify` says of a voice: it speaks a fixed text twice. Rows: every phoneme has a token; the samples are
/// numbers, loud enough and short of clipping; they last as long as that many phonemes do; a seed repeats them bit for
/// bit (`max_abs` is the largest difference).
std::vector<VerifyRow> verify_voice(const VoiceFamily& family, const std::filesystem::path& folder,
                                    const std::string& device);

/// A voice's JSON file as text. Throws Error{weights} when it is missing or larger than 64 MB.
std::string read_voice_file(const std::filesystem::path& file);

/// Throws Error{weights} at `where` when ids up to `largest` lie beyond the table that `input` of the graph indexes.
void check_ids(const openvino::OnnxModel& model, std::string_view input, std::int64_t largest,
               const std::string& where);

/// Index of a speaker by name or number. Throws Error{config} listing what there is.
std::size_t speaker_index(const VoiceInfo& info, const std::string& speaker, std::size_t default_index);

}  // namespace morph::audio
