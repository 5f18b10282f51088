// When each word was said: cross-attention of the heads that follow the sound, matched to the tokens by dynamic time
// warping, as openai/whisper timing.py does it; and how tokens make words.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "recognise/recogniser.h"
#include "recognise/token_text.h"

namespace morph::audio {

/// Tokens that make one word, with the space before it and the marks around it.
struct WordTokens {
  std::string text;
  std::size_t first = 0, n = 0;  ///< among the text's tokens
};

/// `tokens`: of a text, without timestamps. Languages written without spaces are split by characters.
std::vector<WordTokens> split_words(std::span<const int> tokens, const TokenText& names, const std::string& language);

/// Where tokens begin, in positions of the sound: `scores` [n_audio, n_rows, n_heads] before the softmax, of which the
/// first `n_frames` positions hold sound. Each row looks for the token after it: row `first` for the text's first, row
/// n_rows - 2 for the end; one entry for each of these.
std::vector<int> token_starts(std::span<const float> scores, int n_audio, int n_rows, int n_heads, int first,
                              int n_frames);

/// Path of least cost through `costs` [n_columns, n_rows] from the first cell to the last: the first column of each
/// row.
std::vector<int> warp(std::span<const float> costs, int n_rows, int n_columns);

/// Takes back what warping stretches: words at the edges of sentences that last much longer than the text's words do.
void shorten_stretched(std::vector<HeardWord>& words);

}  // namespace morph::audio
