// The special tokens of a Whisper vocabulary, found by name, and the rules that say which token may come next.
//
// Rules follow openai/whisper decoding.py (ApplyTimestampRules, SuppressTokens, SuppressBlank): timestamps come in
// pairs and never go back, a text begins with one, and one is taken when all of them together are likelier than any
// word.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "families/whisper.h"

namespace morph::audio {

struct WhisperTokens {
  int start = -1, end = -1, transcribe = -1, translate = -1, previous = -1, no_speech = -1, no_timestamps = -1;
  int first_timestamp = -1;              ///< 0.00 s; they go on in steps of 20 ms
  std::map<std::string, int> languages;  ///< "en" -> id; empty for an English-only model

  /// Throws Error{weights} when the model has no tokenizer or the tokenizer lacks what is needed.
  explicit WhisperTokens(const WhisperModel& model);

  bool multilingual() const { return !languages.empty(); }
  bool is_timestamp(int token) const { return token >= first_timestamp; }
  double seconds(int timestamp) const { return 0.02 * (timestamp - first_timestamp); }
  /// What comes before the text. `language` and `translating` only matter to a multilingual model.
  std::vector<int> prompt(const std::string& language, bool translating, bool timestamps) const;
};

/// Sets the logits of tokens that may not come next to -infinity. `written`: the text's tokens so far, after the
/// prompt.
class WhisperRules {
 public:
  WhisperRules(const WhisperModel& model, const WhisperTokens& tokens, bool timestamps, int n_audio);
  void apply(std::span<float> logits, std::span<const int> written) const;

 private:
  void apply_timestamps(std::span<float> logits, std::span<const int> written) const;

  const WhisperTokens* tokens_;
  std::vector<int> never_, never_first_;
  bool timestamps_;
  int last_timestamp_;  // the end of the audio
};

/// log(sum(exp(logits))).
double log_sum_exp(std::span<const float> logits);

}  // namespace morph::audio
