// See heard_text.h.
#include "recognise/heard_text.h"

#include <algorithm>
#include <cctype>

namespace morph::audio {
namespace {

constexpr double kSyllablesPerSecond = 8.0;  // the fastest of speakers
constexpr std::size_t kFreeSyllables = 3;    // speech detectors cut the edges of short words

std::string trimmed(std::string text) {
  const std::size_t start = text.find_first_not_of(' ');
  return start == std::string::npos ? std::string() : text.substr(start);
}

bool ends_sentence(std::string_view word) {
  while (!word.empty() && (word.back() == '"' || word.back() == '\'' || word.back() == ')')) word.remove_suffix(1);
  for (const std::string_view mark : {".", "!", "?", "\u3002", "\uff01", "\uff1f", "\u2026"})
    if (word.ends_with(mark)) return true;
  return false;
}

/// Characters, not bytes.
std::size_t length(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U && c != ' '; }));
}

/// Groups of vowels; in scripts without them every character counts.
std::size_t syllables(std::string_view word) {
  constexpr std::string_view kVowels = "aeiouyAEIOUY";
  std::size_t n = 0, wide = 0;
  bool vowel = false;
  for (const char c : word) {
    const auto code = static_cast<unsigned char>(c);
    const bool now = kVowels.find(c) != std::string_view::npos;
    n += now && !vowel ? 1 : 0;
    vowel = now;
    wide += code >= 0xE0 ? 1 : 0;  // lead bytes of scripts that take three
  }
  return std::max<std::size_t>(1, n + wide);
}

}  // namespace

std::string text_of(std::span<const HeardWord> words) {
  std::string text;
  for (const HeardWord& word : words) text += word.text;
  return trimmed(std::move(text));
}

std::string core_of(std::string_view word) {
  std::string kept;
  for (const char c : word)
    if (static_cast<unsigned char>(c) >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0)
      kept += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return kept;
}

double longest_word_s(std::string_view word) { return 0.5 + 0.12 * static_cast<double>(length(word)); }

std::size_t syllables_of(std::span<const HeardWord> words) {
  std::size_t n = 0;
  for (const HeardWord& word : words) n += syllables(word.text);
  return n;
}

bool repeats(std::span<const HeardWord> words) {
  for (std::size_t period = 1; period <= 4; ++period) {
    std::size_t same = 0;
    for (std::size_t i = period; i < words.size(); ++i) {
      same = core_of(words[i].text) == core_of(words[i - period].text) ? same + 1 : 0;
      if (same >= 2 * period) return true;
    }
  }
  return false;
}

bool babbles(std::span<const HeardWord> words, double speech_s) {
  return syllables_of(words) > kFreeSyllables + static_cast<std::size_t>(kSyllablesPerSecond * std::max(0.0, speech_s));
}

std::vector<TextSpan> sentences(std::span<const HeardWord> words, const std::string& language, double gap_s) {
  std::vector<TextSpan> spans;
  double confidence = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const HeardWord& word = words[i];
    const bool begins = i == 0 || ends_sentence(words[i - 1].text) || word.start_s - words[i - 1].end_s > gap_s;
    if (begins) {
      spans.emplace_back();
      spans.back().start_s = word.start_s;
      spans.back().language = language;
      confidence = 0;
    }
    TextSpan& span = spans.back();
    span.text += word.text;
    span.end_s = std::max(span.start_s, word.end_s);
    span.words.push_back({trimmed(word.text), word.start_s, word.end_s, word.probability});
    confidence += static_cast<double>(word.probability);
    span.confidence = static_cast<float>(confidence / static_cast<double>(span.words.size()));
  }
  return spans;
}

}  // namespace morph::audio
