// The scoring form "wer-en" v1 and word error counts. See word_errors.h.
//
// Steps: apostrophes and hyphens unified; the English number rules turn digits into words; lower case; hyphens become
// spaces; everything but letters, digits and inner apostrophes goes; spelled letters are joined; American spellings by
// table.
#include "bench/word_errors.h"

#include <unicode/locid.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <vector>

#include "morph/speech_rules.h"

namespace morph::bench {
namespace {

const std::map<std::string, std::string, std::less<>>& spellings() {
  static const std::map<std::string, std::string, std::less<>> kTable{
      {"smokey", "smoky"},
      {"colour", "color"},
      {"colours", "colors"},
      {"favour", "favor"},
      {"favourite", "favorite"},
      {"honour", "honor"},
      {"labour", "labor"},
      {"neighbour", "neighbor"},
      {"behaviour", "behavior"},
      {"flavour", "flavor"},
      {"harbour", "harbor"},
      {"grey", "gray"},
      {"centre", "center"},
      {"metre", "meter"},
      {"litre", "liter"},
      {"theatre", "theater"},
      {"defence", "defense"},
      {"licence", "license"},
      {"travelled", "traveled"},
      {"travelling", "traveling"},
      {"realise", "realize"},
      {"organise", "organize"},
      {"recognise", "recognize"},
      {"analyse", "analyze"},
      {"programme", "program"},
      {"plough", "plow"},
      {"tyre", "tire"},
      {"cheque", "check"},
      {"ok", "okay"},
      {"mr", "mister"},
      {"mrs", "missus"},
      {"dr", "doctor"},
      {"alright", "all right"},
      {"gonna", "going to"},
      {"wanna", "want to"},
      {"mm", ""},
      {"um", ""},
      {"uh", ""},
      {"hmm", ""},
  };
  return kTable;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(std::move(word));
  return words;
}

/// "p", "m" is "pm": recognisers write spelled letters in one.
std::vector<std::string> joined_letters(std::vector<std::string> words) {
  std::vector<std::string> joined;
  bool after_letter = false;
  for (std::string& word : words) {
    const bool letter = word.size() == 1;
    if (letter && after_letter)
      joined.back() += word;
    else
      joined.push_back(std::move(word));
    after_letter = letter;
  }
  return joined;
}

text::SpeechRules letter_rules() {
  using text::fixed_rule;
  return text::SpeechRules({
      fixed_rule("apostrophe", R"([’‘ʼ])", "'"),
      fixed_rule("annotation", R"(\[[^\]]*\]|<[^>]*>)", " "),
      fixed_rule("hyphen", R"([-‐‑–—])", " "),
      fixed_rule("quotation mark", R"((?<![\p{L}\p{N}])'|'(?![\p{L}\p{N}]))", " "),
      fixed_rule("not a word", R"([^\p{L}\p{M}\p{N}\s'])", " "),
  });
}

}  // namespace

std::string scoring_text(std::string_view transcript) {
  using namespace text;
  std::vector<SpeechRule> table = english_abbreviation_rules();
  for (SpeechRule& rule : english_number_rules()) table.push_back(std::move(rule));
  for (SpeechRule& rule : english_symbol_rules()) table.push_back(std::move(rule));
  const std::string spelled = letter_rules().apply(SpeechRules(std::move(table)).apply(transcript));
  std::string lowered;
  icu::UnicodeString::fromUTF8(spelled).toLower(icu::Locale::getUS()).toUTF8String(lowered);
  std::string out;
  for (const std::string& word : joined_letters(words_of(lowered))) {
    const auto found = spellings().find(word);
    const std::string& kept = found == spellings().end() ? word : found->second;
    if (kept.empty()) continue;
    if (!out.empty()) out += ' ';
    out += kept;
  }
  return out;
}

double WordErrors::rate() const {
  const auto errors = static_cast<double>(n_substituted + n_deleted + n_inserted);
  return n_words == 0 ? errors : errors / static_cast<double>(n_words);
}

WordErrors word_errors(std::string_view reference, std::string_view transcript) {
  const std::vector<std::string> said = words_of(scoring_text(reference)), heard = words_of(scoring_text(transcript));
  struct Cost {
    std::size_t total = 0, substituted = 0, deleted = 0, inserted = 0;
  };
  std::vector<Cost> above(heard.size() + 1), row(heard.size() + 1);
  for (std::size_t j = 0; j <= heard.size(); ++j) above[j] = {j, 0, 0, j};
  for (std::size_t i = 1; i <= said.size(); ++i) {
    row[0] = {i, 0, i, 0};
    for (std::size_t j = 1; j <= heard.size(); ++j) {
      Cost match = above[j - 1];
      if (said[i - 1] != heard[j - 1]) ++match.total, ++match.substituted;
      Cost gone = above[j], extra = row[j - 1];
      ++gone.total, ++gone.deleted;
      ++extra.total, ++extra.inserted;
      row[j] = std::min({match, gone, extra}, [](const Cost& a, const Cost& b) { return a.total < b.total; });
    }
    std::swap(above, row);
  }
  const Cost& best = above[heard.size()];
  return {said.size(), best.substituted, best.deleted, best.inserted};
}

}  // namespace morph::bench
