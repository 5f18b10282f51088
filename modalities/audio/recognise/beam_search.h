// BeamSearch: the likeliest text of an encoded window, looked for along several texts at once. Beams live in one
// self-attention cache as paths of rows: a fork shares its parent's rows, rows of beams that died are used again. Beams
// far below the best one are dropped at once. A search costs two to three times what taking the likeliest token each
// time does, so WindowDecoder asks for one only where that leaves doubt. Length normalisation as in openai/whisper
// decoding.py (MaximumLikelihoodRanker without a penalty: the mean).
#pragma once

#include <span>
#include <vector>

#include "recognise/decoding.h"
#include "recognise/whisper_tokens.h"

namespace morph::audio {

struct BeamText {
  std::vector<int> tokens;  ///< without prompt and end
  double sum_logprob = 0;   ///< of the tokens and, when finished, of the end
  bool finished = false;    ///< ended by itself
  double mean_logprob() const { return sum_logprob / static_cast<double>(tokens.size() + 1); }
};

/// Not thread-safe; what it is given must outlive it.
class BeamSearch {
 public:
  /// Texts take rows below `n_rows` of the window's cache.
  BeamSearch(DecodePort& port, const WhisperTokens& tokens, const WhisperRules& rules, int n_rows, double sound_s = 0);

  /// `n_prompt` tokens were fed and `logits` [vocab_size] follow the last of them. At most `n_beams` texts of at most
  /// `max_tokens` tokens are followed.
  Decoding<BeamText> run(int n_prompt, std::vector<float> logits, int n_beams, int max_tokens);
  int n_steps() const { return n_steps_; }

 private:
  struct Beam {
    std::vector<int> tokens;
    std::vector<int> rows;  ///< of the cache, one per token
    double sum = 0;
  };
  struct Candidate {
    std::size_t beam = 0;
    int token = 0;
    double sum = 0;
  };

  /// The likeliest continuations of all beams, best first.
  std::vector<Candidate> candidates(std::span<const float> logits, std::size_t n_each);
  /// Takes over finished texts; what goes on becomes the beams.
  void advance(const std::vector<Candidate>& found, std::size_t n_beams);
  bool decided(std::size_t n_beams) const;
  /// Gives each beam a row for its last token; the worst beams go when there are not enough.
  void take_rows(int n_prompt);
  FeedRequest next_tokens(int n_prompt) const;

  DecodePort* port_;
  const WhisperTokens* tokens_;
  const WhisperRules* rules_;
  int n_rows_;
  double sound_s_;
  std::vector<Beam> beams_;
  std::vector<BeamText> finished_;
  std::vector<float> scores_;
  int n_steps_ = 0;
};

/// True when the last tokens are one phrase over and over, more often than anybody says it in `sound_s`: decoding on is
/// a waste of time.
bool loops(std::span<const int> tokens, double sound_s = 0);

}  // namespace morph::audio
