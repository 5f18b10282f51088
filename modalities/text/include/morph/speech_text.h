// Text for ears: what a voice should say for a written text, and how two transcripts are compared.
//
// "speech-text-en" v1 makes written English speakable: numbers, dates, times, money, units, abbreviations, addresses
// and markup become words; the result holds letters, apostrophes, hyphens and the marks , ; : . ! ? only. "wer-en" v1
// makes transcripts comparable before word errors are counted: lower case, no punctuation, numbers as words, American
// spellings, contractions kept. Rules and their order: modalities/text/normalise/.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace morph::text {

/// Makes text speakable. Building one compiles its rules (milliseconds): keep it. A movable value; one thread at a
/// time.
class SpeechNormaliser {
 public:
  /// `language` is ISO 639-1 or a voice name that starts with it ("en", "en-us"). English has all rules; any other
  /// language has those for markup, addresses, emoji and punctuation only, and leaves digits to the voice.
  explicit SpeechNormaliser(std::string_view language = "en");
  ~SpeechNormaliser();
  SpeechNormaliser(SpeechNormaliser&&) noexcept;
  SpeechNormaliser& operator=(SpeechNormaliser&&) noexcept;

  /// Speakable text, one line; empty when nothing in `text` can be spoken. Invalid UTF-8 is skipped.
  std::string operator()(std::string_view text) const;
  /// "speech-text-en/1" or "speech-text/1".
  std::string_view name() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

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

}  // namespace morph::text
