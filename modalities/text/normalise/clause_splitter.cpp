// See clause_splitter.h. Rules are English ones; other languages fall back to punctuation, which most share.
#include "normalise/clause_splitter.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "exec/wire.h"

namespace morph::text {
namespace {

constexpr std::array<std::string_view, 29> kAbbreviations = {
    "mr",  "mrs", "ms",  "dr", "prof", "sr",  "jr",  "st", "mt",   "rev",    "gen", "col", "lt", "sgt", "capt",
    "gov", "sen", "rep", "vs", "al",   "inc", "ltd", "co", "dept", "approx", "e.g", "i.e", "cf", "est"};
/// Abbreviations in front of a number only.
constexpr std::array<std::string_view, 5> kNumberAbbreviations = {"no", "fig", "eq", "vol", "pp"};
/// May end a sentence too: decided by what follows.
constexpr std::array<std::string_view, 6> kMaybeAbbreviations = {"etc", "a.m", "p.m", "u.s", "u.k", "e.u"};
/// A clause may end before these.
constexpr std::array<std::string_view, 8> kConjunctions = {"because", "but", "although", "while",
                                                           "which",   "so",  "whereas",  "unless"};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool starts_with(std::string_view text, std::size_t at, std::string_view what) {
  return text.substr(at, what.size()) == what;
}

/// Bytes of closing quotes and brackets at `at`.
std::size_t closers(std::string_view text, std::size_t at) {
  const std::size_t begin = at;
  for (bool more = true; more && at < text.size();) {
    more = false;
    for (std::string_view mark : {"\"", "'", ")", "]", "*", "_", "\xE2\x80\x9D", "\xE2\x80\x99", "\xC2\xBB"})
      if (starts_with(text, at, mark)) {
        at += mark.size();
        more = true;
        break;
      }
  }
  return at - begin;
}

enum class Mark { none, sentence, wide_sentence, comma };

/// The mark at `at` and its length in bytes. Wide (CJK) marks need no space after them.
Mark mark_at(std::string_view text, std::size_t at, std::size_t& length) {
  const char c = text[at];
  length = 1;
  if (c == '.' || c == '!' || c == '?' || c == '\n') return Mark::sentence;
  if (c == ',' || c == ';' || c == ':') return Mark::comma;
  if (static_cast<unsigned char>(c) < 0x80) return Mark::none;
  length = 3;
  if (starts_with(text, at, "\xE2\x80\xA6")) return Mark::sentence;  // horizontal ellipsis
  for (std::string_view wide : {"\xE3\x80\x82", "\xEF\xBC\x81", "\xEF\xBC\x9F"})
    if (starts_with(text, at, wide)) return Mark::wide_sentence;
  return Mark::none;
}

bool is_dash(std::string_view word) {
  return word == "-" || word == "--" || word == "\xE2\x80\x93" || word == "\xE2\x80\x94";
}

}  // namespace

bool is_abbreviation(std::string_view text, std::size_t at, char next) {
  std::size_t begin = at;
  while (begin > 0 && !is_space(text[begin - 1]) && text[begin - 1] != '(' && text[begin - 1] != '"') --begin;
  const std::string word = lower(text.substr(begin, at - begin));
  if (word.empty()) return false;
  if (contains(kAbbreviations, word)) return true;
  if (contains(kNumberAbbreviations, word)) return is_digit(next);
  if (contains(kMaybeAbbreviations, word)) return !std::isupper(static_cast<unsigned char>(next));
  if (word.size() == 1 && is_letter(word[0]))
    return word != "i" && std::isupper(static_cast<unsigned char>(text[begin])) != 0;
  if (!std::all_of(word.begin(), word.end(), is_digit) || word.size() > 3) return false;
  while (begin > 0 && (text[begin - 1] == ' ' || text[begin - 1] == '\t')) --begin;
  return begin == 0 || text[begin - 1] == '\n';  // "1. Boil the water"
}

std::size_t ClauseSplitter::find_end(bool whole) const {
  const std::string_view text(buffer_);
  const int comma_words = first_ ? options_.first_words : options_.later_words;
  const auto after_space = [&](std::size_t at) {  // white space belongs to the clause before it
    while (at < text.size() && is_space(text[at])) ++at;
    return at;
  };
  int n_words = 0;
  bool in_word = false;
  std::size_t word_begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (is_space(text[at]) && text[at] != '\n') {
      if (in_word) {
        const std::string_view word = text.substr(word_begin, at - word_begin);
        if (is_dash(word)) {
          --n_words;
          if (n_words >= comma_words) return after_space(at);
        }
        if (n_words >= options_.most_words) return after_space(at);
        if (first_ && n_words > options_.first_words && contains(kConjunctions, lower(word))) return word_begin;
      }
      in_word = false;
      ++at;
      continue;
    }
    std::size_t length = 1;
    const Mark mark = mark_at(text, at, length);
    if (mark != Mark::none && (in_word || mark == Mark::wide_sentence)) {
      const std::size_t end = at + length + (text[at] == '\n' ? 0 : closers(text, at + length));
      if (mark == Mark::wide_sentence || text[at] == '\n') return after_space(end);
      const bool known = end < text.size();
      if (!known && !whole) return 0;
      if (known && is_space(text[end])) {
        const std::size_t next = after_space(end);
        if (next == text.size() && !whole && text[at] == '.' &&
            (is_abbreviation(text, at, 'a') || is_abbreviation(text, at, '1')))
          return 0;
        const char first_of_next = next < text.size() ? text[next] : '\0';
        if (mark == Mark::sentence && !(text[at] == '.' && is_abbreviation(text, at, first_of_next))) return next;
        if (mark == Mark::comma && n_words >= comma_words) return next;
      }
      at += length;
      continue;
    }
    if (text[at] == '\n') {
      ++at;
      continue;
    }
    if (!in_word) {
      in_word = true;
      word_begin = at;
      ++n_words;
    }
    ++at;
  }
  return whole ? text.size() : 0;
}

std::optional<std::string> ClauseSplitter::take(bool whole) {
  const std::size_t end = find_end(whole);
  if (end == 0) return std::nullopt;
  std::string clause = buffer_.substr(0, end);
  buffer_.erase(0, end);
  taken_ += end;
  if (std::any_of(clause.begin(), clause.end(), [](char c) { return !is_space(c); })) first_ = false;
  return clause;
}

void ClauseSplitter::clear() {
  buffer_.clear();
  taken_ = 0;
  first_ = true;
}

void ClauseSplitter::save(wire::Writer& writer) const {
  writer.string(buffer_);
  writer.u64(taken_);
  writer.boolean(first_);
}

void ClauseSplitter::restore(wire::Reader& reader) {
  buffer_ = reader.string();
  taken_ = static_cast<std::size_t>(reader.u64());
  first_ = reader.boolean();
}

}  // namespace morph::text
