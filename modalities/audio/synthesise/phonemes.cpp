// Clause marks, decomposition (ICU) and cutting of long texts.
#include "synthesise/phonemes.h"

#include <unicode/normalizer2.h>
#include <unicode/unistr.h>

#include "morph/error.h"
#include "morph/speech_rules.h"

namespace morph::audio {
namespace {

bool is_mark(char c) { return c == ',' || c == ';' || c == ':' || c == '.' || c == '!' || c == '?'; }
bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
bool ends_sentence(char mark) { return mark == '.' || mark == '!' || mark == '?'; }

struct Clause {
  std::string text;  ///< without the mark
  char mark = 0;     ///< 0: none
  std::size_t end = 0;
};

bool has_word(std::string_view text) {
  for (char c : text)
    if ((c & 0x80) != 0 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return false;
}

/// Clauses that hold a word; marks without a word go to the clause before.
std::vector<Clause> split_clauses(std::string_view text) {
  std::vector<Clause> clauses;
  std::size_t begin = 0;
  const auto close = [&](std::size_t words_end, char mark, std::size_t end) {
    std::string_view words = text.substr(begin, words_end - begin);
    while (!words.empty() && is_space(words.front())) words.remove_prefix(1);
    while (!words.empty() && (is_space(words.back()) || is_mark(words.back()))) words.remove_suffix(1);
    if (has_word(words)) {
      clauses.push_back({std::string(words), mark, end});
    } else if (!clauses.empty()) {
      clauses.back().end = end;
    }
    begin = end;
  };
  for (std::size_t i = 0; i < text.size(); ++i)
    if (is_mark(text[i]) && (i + 1 == text.size() || is_space(text[i + 1]))) close(i, text[i], i + 1);
  if (begin < text.size()) close(text.size(), 0, text.size());
  if (!clauses.empty()) clauses.back().end = text.size();
  return clauses;
}

std::vector<std::string> code_points(const icu::UnicodeString& text) {
  std::vector<std::string> points;
  for (int32_t i = 0; i < text.length();) {
    const UChar32 point = text.char32At(i);
    i += U16_LENGTH(point);
    std::string utf8;
    icu::UnicodeString(point).toUTF8String(utf8);
    points.push_back(std::move(utf8));
  }
  return points;
}

icu::UnicodeString from_utf8(std::string_view text) {
  return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
}

}  // namespace

namespace {

/// Older espeak-ng releases (1.51, Debian's) differ from the one that piper-tts carries in two ways in English: they
/// say "oːɹ" for "ɔːɹ", and do not write the glide between a close front vowel and a vowel that follows. Does nothing
/// to what newer releases print.
std::vector<text::SpeechRule> newer_english_rules() {
  constexpr const char* kBetweenWords = R"((ɪ|iː?)(?= [ˈˌ]?[aeiouæɐɑɒɔəɚɛɜɪʊʌᵻ]))";
  constexpr const char* kInsideWord = R"(((?<![aeɔ])ɪ|iː|(?<![ˈˌ])i(?!ə(?:\s|$)|ː))(?=[ˈˌ]?[aeiouæɐɑɒɔəɚɛɜɪʊʌᵻ]))";
  const auto glide = [](const text::RuleMatch& m) { return m[1] + "ʲ"; };
  return {text::fixed_rule("force vowel", R"(oːɹ)", "ɔːɹ"),
          {"glide between words", kBetweenWords, glide},
          {"glide inside a word", kInsideWord, glide}};
}

}  // namespace

std::string sentence_ipa(const EspeakProgram& espeak, std::string_view text, std::string_view voice) {
  const std::vector<Clause> clauses = split_clauses(text);
  if (clauses.empty()) return {};
  std::string joined;
  for (const Clause& clause : clauses) {
    joined += clause.text;
    if (clause.mark != 0) joined += clause.mark;
    joined += '\n';
  }
  std::vector<std::string> lines = espeak.clauses(joined, voice);
  if (lines.size() != clauses.size()) {
    // espeak cut elsewhere (or joined): ask for each clause alone.
    lines.clear();
    for (const Clause& clause : clauses) {
      std::string line;
      for (const std::string& part : espeak.clauses(clause.text, voice)) line += (line.empty() ? "" : " ") + part;
      lines.push_back(std::move(line));
    }
  }
  if (voice.starts_with("en")) {
    const text::SpeechRules newer(newer_english_rules());
    for (std::string& line : lines) line = newer.apply(line);
  }
  std::string ipa;
  for (std::size_t i = 0; i < clauses.size(); ++i) {
    if (lines[i].empty()) continue;
    ipa += lines[i];
    const char mark = clauses[i].mark;
    if (mark != 0) ipa += mark;
    if (mark == ',' || mark == ':' || mark == ';') ipa += ' ';
    if (ends_sentence(mark) && i + 1 < clauses.size()) ipa += ' ';
  }
  return ipa;
}

std::vector<std::string> decomposed_phonemes(std::string_view ipa) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfd = icu::Normalizer2::getNFDInstance(status);
  const icu::UnicodeString text = from_utf8(ipa);
  const icu::UnicodeString decomposed = U_SUCCESS(status) ? nfd->normalize(text, status) : text;
  if (U_FAILURE(status))
    throw Error(ErrorCode::internal, "audio/speak", std::string("ICU cannot decompose text: ") + u_errorName(status));
  return code_points(decomposed);
}

std::vector<std::string> plain_phonemes(std::string_view ipa) { return code_points(from_utf8(ipa)); }

namespace {

/// Last place at or before `limit` where `text` may be cut: after a space, else at a code point's start.
std::size_t word_cut(std::string_view text, std::size_t limit) {
  const std::size_t space = text.rfind(' ', limit);
  if (space != std::string_view::npos && space > 0) return space + 1;
  std::size_t cut = limit;
  while (cut > 1 && (text[cut] & 0xC0) == 0x80) --cut;
  return cut;
}

}  // namespace

std::vector<Utterance> split_utterances(std::string_view speakable, std::size_t max_chars) {
  std::vector<Utterance> pieces;
  std::size_t begin = 0;  // of the piece being filled
  const auto emit = [&](std::size_t end, bool sentence_end) {
    std::string_view text = speakable.substr(begin, end - begin);
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    if (has_word(text)) {
      pieces.push_back({std::string(text), end, sentence_end});
    } else if (!pieces.empty()) {
      pieces.back().end = end;
    }
    begin = end;
  };
  for (const Clause& clause : split_clauses(speakable)) {
    while (clause.end - begin > max_chars) {
      // Too long together: cut after an earlier clause if that leaves a piece of some length, else between words.
      const std::string_view rest = speakable.substr(begin, clause.end - begin);
      std::size_t cut = max_chars;
      while (cut > max_chars / 4 && !(is_mark(rest[cut - 1]) && is_space(rest[cut]))) --cut;
      emit(begin + (cut > max_chars / 4 ? cut : word_cut(rest, max_chars)), false);
    }
    if (ends_sentence(clause.mark) || clause.end == speakable.size()) emit(clause.end, ends_sentence(clause.mark));
  }
  return pieces;
}

}  // namespace morph::audio
