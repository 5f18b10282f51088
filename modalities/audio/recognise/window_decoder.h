// WindowDecoder: the text of one encoded window. The likeliest token each time first; where that leaves doubt, a beam
// search; when the text looks wrong (it repeats itself or the model is unsure), again with rising temperatures, as in
// openai/whisper transcribe.py and decoding.py.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "recognise/decoding.h"
#include "recognise/recogniser.h"
#include "recognise/whisper_tokens.h"

namespace morph::audio {

struct WindowText {
  std::vector<int> tokens;           ///< text and timestamps, without prompt and end
  std::vector<float> probabilities;  ///< of each token
  double mean_logprob = 0, no_speech = 0, compression = 0, temperature = 0;
  bool silent = false;    ///< judged to hold no speech: tokens are to be ignored
  bool finished = false;  ///< ended by itself, not by a limit
  int n_decoded = 0;      ///< tokens computed, over all temperatures
};

struct LanguageScores {
  std::string best = "en";
  double probability = 1.0;
  std::vector<std::pair<std::string, double>> logprobs;  ///< of all, best first; empty for an English-only model
};

/// What a window is decoded with.
struct DecodeTask {
  HearOptions options;      ///< with a language
  std::vector<int> prompt;  ///< tokens of people's words, kept in front of the context
  int n_audio = 0;          ///< positions that hold sound; no timestamp lies behind
  int max_tokens = 224;
  bool timestamps = true;
};

/// Not thread-safe; what it is given must outlive it. Its texts run to their ends as DecodePort is answered.
class WindowDecoder {
 public:
  WindowDecoder(const WhisperModel& model, const WhisperTokens& tokens, DecodePort& port, int n_rows)
      : model_(&model), tokens_(&tokens), port_(&port), n_rows_(n_rows) {}

  Decoding<LanguageScores> detect_language();
  /// Throws Error{weights} when the model computes numbers that are not finite.
  Decoding<WindowText> decode(DecodeTask task);

 private:
  struct Prompt {
    std::vector<int> tokens;
    int start_at = 0;  ///< index of the start token, after which no_speech is read
  };
  Prompt prompt(const DecodeTask& task) const;
  Decoding<WindowText> attempt(const DecodeTask& task, double temperature, int n_beams, std::mt19937_64& random);
  Decoding<bool> sample(WindowText& text, const WhisperRules& rules, std::vector<float> scores, int n_prompt, int limit,
                        std::mt19937_64& random);
  /// Several texts drawn side by side; the likeliest becomes `text`.
  Decoding<bool> sample_best(WindowText& text, const WhisperRules& rules, std::vector<float> scores, int n_prompt,
                             int limit, int n_texts, std::mt19937_64& random);

  const WhisperModel* model_;
  const WhisperTokens* tokens_;
  DecodePort* port_;
  int n_rows_;
  double sound_s_ = 0;  ///< of the window that is decoded
};

/// Bytes of a text over bytes of its zlib form: high for loops.
double compression_ratio(const std::string& text);

}  // namespace morph::audio
