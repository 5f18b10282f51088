// How the benchmark compares transcripts: "wer-en" v1 makes them comparable before word errors are counted (lower case,
// no punctuation, numbers as words, American spellings, contractions kept).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace morph::bench {

/// The "wer-en/1" form of a transcript: words separated by single spaces.
std::string scoring_text(std::string_view transcript);

/// Word errors of a transcript against what was said (Levenshtein over words of the two scoring texts).
struct WordErrors {
  std::size_t n_words = 0;  ///< in the reference
  std::size_t n_substituted = 0, n_deleted = 0, n_inserted = 0;
  /// Errors per reference word; 0 when both are empty.
  double rate() const;
};
WordErrors word_errors(std::string_view reference, std::string_view transcript);

}  // namespace morph::bench
