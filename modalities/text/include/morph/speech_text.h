// Text for ears: what a voice should say for a written text.
//
// "speech-text-en" v1 makes written English speakable: numbers, dates, times, money, units, abbreviations, addresses
// and markup become words; the result holds letters, apostrophes, hyphens and the marks , ; : . ! ? only. Rules and
// their order: modalities/text/normalise/.
#pragma once

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

}  // namespace morph::text
