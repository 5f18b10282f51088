// The rewriting machine under the speech normaliser: ordered rules, each a regular expression (ICU) and what to say for
// a match. Rules are data; the machine knows nothing of any language.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace morph::text {

/// Groups of a match as UTF-8; [0] is all of it; a group that took no part is empty.
using RuleMatch = std::vector<std::string>;

struct SpeechRule {
  const char* name;     ///< for errors and tests
  const char* pattern;  ///< ICU regular expression; '^' and '$' are line ends
  std::function<std::string(const RuleMatch&)> say;
};

/// Compiled rules in order. One thread at a time.
class SpeechRules {
 public:
  /// Throws Error{internal} naming the rule whose pattern does not compile.
  explicit SpeechRules(std::vector<SpeechRule> rules);
  ~SpeechRules();
  SpeechRules(SpeechRules&&) noexcept;

  /// Each rule in turn over the whole text. Invalid UTF-8 becomes U+FFFD. Throws Error{resource} when the text is too
  /// intricate for a pattern.
  std::string apply(std::string_view text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A rule that always says the same; `$1` is not expanded.
SpeechRule fixed_rule(const char* name, const char* pattern, std::string replacement);

// The tables, in the order they are applied.
std::vector<SpeechRule> markup_rules();                ///< Markdown, HTML, addresses, emoji, paragraphs
std::vector<SpeechRule> english_abbreviation_rules();  ///< titles, months, initialisms
std::vector<SpeechRule> english_number_rules();        ///< times, dates, money, units, numbers
std::vector<SpeechRule> english_symbol_rules();        ///< &, +, =, ...; acronyms that espeak reads as words
std::vector<SpeechRule> punctuation_rules();           ///< only marks that voices know, properly spaced

}  // namespace morph::text
