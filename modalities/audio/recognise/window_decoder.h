// WindowDecoder: the text of one encoded window. The likeliest token each time first; where that leaves doubt, a beam
// search; when the text looks wrong (it repeats itself or the model is unsure), again with rising temperatures, as in
// openai/whisper transcribe.py.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "recognise/whisper_session.h"
#include "recognise/whisper_tokens.h"

namespace morph::audio {

struct DecodeOptions {
  std::string language = "en";  ///< a code, never "auto"
  bool translating = false;
  bool timestamps = true;
  std::vector<double> temperatures{0.0, 0.2, 0.4, 0.6, 0.8, 1.0};
  double max_compression = 2.4;  ///< above: the text repeats itself
  double min_logprob = -1.0;     ///< mean per token; below: the model is unsure
  double max_no_speech = 0.6;    ///< above, and unsure: there is no speech
  int max_tokens = 224;
  int beam_size = 5;           ///< texts followed side by side at temperature 0; 1: no search
  double sure_logprob = -0.2;  ///< mean per token; clear speech lies above, and a search would find the same text
};

struct WindowText {
  std::vector<int> tokens;  ///< text and timestamps, without prompt and end
  double mean_logprob = 0, no_speech = 0, compression = 0, temperature = 0;
  bool silent = false;    ///< judged to hold no speech: tokens are to be ignored
  bool finished = false;  ///< ended by itself, not by max_tokens
  int n_decoded = 0;      ///< tokens computed, over all temperatures
};

/// Not thread-safe; `session` and `tokens` must outlive it. Looks at `cancelled` before every token and throws
/// Error{cancelled}.
class WindowDecoder {
 public:
  WindowDecoder(WhisperSession& session, const WhisperTokens& tokens, std::function<bool()> cancelled);

  /// Code of the likeliest language of the window that was encoded last; "en" for an English-only model.
  std::string detect_language(double* probability = nullptr);
  /// `previous`: tokens of the text before this window (may be empty); `n_audio`: positions that were encoded.
  WindowText decode(const DecodeOptions& options, const std::vector<int>& previous, int n_audio, std::uint64_t seed);

 private:
  /// Tokens one by one, after the prompt.
  void sample(WindowText& text, const WhisperRules& rules, std::vector<float> scores, int n_prompt, int limit,
              std::mt19937_64& random);
  void check_cancelled() const;
  WindowText attempt(const DecodeOptions& options, const std::vector<int>& previous, int n_audio, double temperature,
                     int n_beams, std::mt19937_64& random);

  WhisperSession* session_;
  const WhisperTokens* tokens_;
  std::function<bool()> cancelled_;
};

/// Bytes of a text over bytes of its zlib form: high for loops.
double compression_ratio(const std::string& text);

}  // namespace morph::audio
