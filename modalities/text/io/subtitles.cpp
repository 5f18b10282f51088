// See subtitles.h. Where a text is cut is the cheapest way through its words.
#include "io/subtitles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace morph::text {
namespace {

struct Piece {
  std::string text;
  bool spaced = false;  ///< a space stands before it
  double start_s = 0, end_s = 0;
  int columns = 0;
  bool sentence_ends = false, clause_ends = false, span_begins = false;
};

std::size_t character_bytes(unsigned char lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

bool ends_with_any(std::string_view text, std::initializer_list<std::string_view> marks) {
  while (!text.empty() && (text.back() == '"' || text.back() == ')' || text.back() == '\'')) text.remove_suffix(1);
  return std::any_of(marks.begin(), marks.end(), [&](std::string_view mark) { return text.ends_with(mark); });
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

/// Words of a span that has none of its own: by spaces, times shared out by length.
std::vector<TextWord> guessed_words(const TextSpan& span) {
  std::vector<TextWord> words;
  const std::string_view text = trimmed(span.text);
  const double seconds = span.end_s - span.start_s, length = static_cast<double>(std::max<std::size_t>(1, text.size()));
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
    if (end > at)
      words.push_back({std::string(text.substr(at, end - at)),
                       span.start_s + seconds * static_cast<double>(at) / length,
                       span.start_s + seconds * static_cast<double>(end) / length, span.confidence});
    at = end + 1;
  }
  return words;
}

/// A word that is longer than a line in pieces that are not.
void add_pieces(std::vector<Piece>& pieces, const TextWord& word, bool spaced, int most) {
  const double columns = std::max(1, columns_of(word.text)), seconds = word.end_s - word.start_s;
  std::size_t at = 0;
  double before = 0;
  while (at < word.text.size()) {
    Piece piece;
    piece.spaced = spaced && at == 0;
    std::size_t end = at;
    while (end < word.text.size()) {
      const std::size_t n =
          std::min(character_bytes(static_cast<unsigned char>(word.text[end])), word.text.size() - end);
      const int wide = columns_of(std::string_view(word.text).substr(end, n));
      if (end > at && piece.columns + wide > most) break;
      piece.columns += wide;
      end += n;
    }
    piece.text = word.text.substr(at, end - at);
    piece.start_s = word.start_s + seconds * before / columns;
    before += piece.columns;
    piece.end_s = word.start_s + seconds * before / columns;
    at = end;
    if (at == word.text.size()) {
      piece.sentence_ends = ends_with_any(piece.text, {".", "!", "?", "\u3002", "\uff01", "\uff1f", "\u2026"});
      piece.clause_ends = ends_with_any(piece.text, {",", ";", ":", "\u2014", "\u3001", "\uff0c", "\uff1b"});
    }
    pieces.push_back(std::move(piece));
  }
}

std::vector<Piece> pieces_of(std::span<const TextSpan> spans, const SubtitleRules& rules) {
  std::vector<Piece> pieces;
  for (const TextSpan& span : spans) {
    if (!(span.end_s > span.start_s)) continue;
    const std::vector<TextWord> words = span.words.empty() ? guessed_words(span) : span.words;
    std::size_t at = 0;
    const std::size_t first = pieces.size();
    for (const TextWord& word : words) {
      // Whether a space stands before a word is seen in the span's text.
      const std::size_t found = span.text.find(word.text, at);
      const bool spaced = found == std::string::npos || found == 0 || span.text[found - 1] == ' ';
      if (found != std::string::npos) at = found + word.text.size();
      if (!trimmed(word.text).empty()) add_pieces(pieces, word, spaced || &word == &words.front(), rules.columns);
    }
    if (pieces.size() > first) pieces[first].span_begins = true;
  }
  return pieces;
}

std::string joined(std::span<const Piece> pieces) {
  std::string text;
  for (const Piece& piece : pieces) {
    if (piece.spaced && !text.empty()) text += ' ';
    text += piece.text;
  }
  return text;
}

int joined_columns(std::span<const Piece> pieces) {
  int columns = 0;
  for (const Piece& piece : pieces) columns += piece.columns + (piece.spaced && columns > 0 ? 1 : 0);
  return columns;
}

/// Number of pieces on the first line, all of them when one line is enough; 0 when two are not.
std::size_t first_line(std::span<const Piece> pieces, int most) {
  const int whole = joined_columns(pieces);
  if (whole <= most) return pieces.size();
  std::size_t best = 0;
  double best_cost = std::numeric_limits<double>::infinity();
  for (std::size_t n = 1; n < pieces.size(); ++n) {
    const int first = joined_columns(pieces.first(n)), second = joined_columns(pieces.subspan(n));
    if (first > most || second > most) continue;
    double cost = std::abs(first - second);
    if (pieces[n - 1].clause_ends || pieces[n - 1].sentence_ends) cost -= 12;
    if (!pieces[n].spaced) cost += 4;
    if (cost < best_cost) {
      best_cost = cost;
      best = n;
    }
  }
  return best;
}

/// What a cue of these pieces costs, infinite when it breaks a rule; `last`: nothing follows.
double cost_of(std::span<const Piece> pieces, bool last, const SubtitleRules& rules) {
  const double seconds = pieces.back().end_s - pieces.front().start_s;
  if (pieces.size() > 1 && (seconds > rules.longest_s || first_line(pieces, rules.columns) == 0))
    return std::numeric_limits<double>::infinity();
  double cost = 1.0;
  for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
    if (pieces[i + 1].start_s - pieces[i].end_s > rules.pause_s) return std::numeric_limits<double>::infinity();
    if (pieces[i].sentence_ends) cost += 1.6;  // two sentences in one cue
  }
  const Piece& end = pieces.back();
  if (!last && !end.sentence_ends) cost += end.clause_ends ? 1.0 : 3.0;
  const int columns = joined_columns(pieces);
  if (columns < 15 && !(end.sentence_ends && pieces.front().span_begins)) cost += 1.5;
  if (seconds < 1.0) cost += 1.0;
  const double speed = columns / std::max(0.2, seconds);
  if (speed > rules.characters_per_s) cost += 0.05 * (speed - rules.characters_per_s);
  if (columns > rules.columns) cost += 0.2;
  return cost;
}

std::string time_code(double seconds, char mark) {
  const auto ms = static_cast<std::int64_t>(std::llround(std::max(seconds, 0.0) * 1000.0));
  return fmt::format("{:02}:{:02}:{:02}{}{:03}", ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, mark, ms % 1000);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

int columns_of(std::string_view text) {
  int columns = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t n = std::min(character_bytes(lead), text.size() - i);
    std::uint32_t code = n == 1 ? lead : n == 2 ? lead & 0x1FU : n == 3 ? lead & 0x0FU : lead & 0x07U;
    for (std::size_t k = 1; k < n; ++k) code = (code << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
    const bool wide = (code >= 0x1100 && code <= 0x115F) || (code >= 0x2E80 && code <= 0xA4CF) ||
                      (code >= 0xAC00 && code <= 0xD7A3) || (code >= 0xF900 && code <= 0xFAFF) ||
                      (code >= 0xFE30 && code <= 0xFE6F) || (code >= 0xFF00 && code <= 0xFF60) || code >= 0x1F300;
    const bool combining = (code >= 0x0300 && code <= 0x036F) || (code >= 0x200B && code <= 0x200F);
    columns += combining ? 0 : wide ? 2 : 1;
    i += n;
  }
  return columns;
}

std::vector<Cue> make_cues(std::span<const TextSpan> spans, const SubtitleRules& rules) {
  const std::vector<Piece> pieces = pieces_of(spans, rules);
  const std::size_t n = pieces.size();
  std::vector<double> least(n + 1, std::numeric_limits<double>::infinity());
  std::vector<std::size_t> from(n + 1, 0);
  least[0] = 0;
  for (std::size_t end = 1; end <= n; ++end)
    for (std::size_t begin = end; begin-- > 0;) {
      const std::span<const Piece> cue(pieces.data() + begin, end - begin);
      if (cue.size() > 1 && joined_columns(cue) > 2 * rules.columns) break;
      const double cost = least[begin] + cost_of(cue, end == n, rules);
      if (cost < least[end]) {
        least[end] = cost;
        from[end] = begin;
      }
    }
  std::vector<std::size_t> ends;
  for (std::size_t end = n; end > 0; end = from[end]) ends.push_back(end);
  std::reverse(ends.begin(), ends.end());
  std::vector<Cue> cues;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    const std::span<const Piece> part(pieces.data() + begin, end - begin);
    const std::size_t line = std::max<std::size_t>(1, first_line(part, rules.columns));
    Cue cue{part.front().start_s, std::min(part.back().end_s, part.front().start_s + rules.longest_s), {}};
    cue.lines.push_back(joined(part.first(line)));
    if (line < part.size()) cue.lines.push_back(joined(part.subspan(line)));
    const double wanted = std::min(rules.longest_s, joined_columns(part) / rules.characters_per_s);
    double room = std::numeric_limits<double>::infinity();
    if (end < n) room = pieces[end].start_s;
    if (cue.end_s < cue.start_s + wanted)
      cue.end_s = std::max(cue.end_s, std::min(cue.start_s + wanted, room - rules.apart_s));
    cue.end_s = std::max(std::min(cue.end_s, room), cue.start_s + 0.001);
    if (!cues.empty()) cue.start_s = std::max(cue.start_s, cues.back().end_s);
    cue.end_s = std::max(cue.end_s, cue.start_s + 0.001);
    cues.push_back(std::move(cue));
    begin = end;
  }
  return cues;
}

std::string write_srt(std::span<const Cue> cues) {
  std::string out;
  int number = 0;
  for (const Cue& cue : cues) {
    out += fmt::format("{}\n{} --> {}\n", ++number, time_code(cue.start_s, ','), time_code(cue.end_s, ','));
    for (const std::string& line : cue.lines) out += line + "\n";
    out += "\n";
  }
  return out;
}

std::string write_vtt(std::span<const Cue> cues) {
  std::string out = "WEBVTT\n\n";
  int number = 0;
  for (const Cue& cue : cues) {
    out += fmt::format("{}\n{} --> {}\n", ++number, time_code(cue.start_s, '.'), time_code(cue.end_s, '.'));
    for (const std::string& line : cue.lines)
      out += replaced(replaced(replaced(line, "&", "&amp;"), "<", "&lt;"), ">", "&gt;") + "\n";
    out += "\n";
  }
  return out;
}

std::string write_ass(std::span<const Cue> cues) {
  std::string out =
      "[Script Info]\nScriptType: v4.00+\nPlayResX: 1920\nPlayResY: 1080\nScaledBorderAndShadow: yes\n\n"
      "[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, "
      "Bold, "
      "Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, "
      "MarginR, MarginV, Encoding\n"
      "Style: "
      "Default,sans-serif,64,&H00FFFFFF,&H000000FF,&H00000000,&H64000000,0,0,0,0,100,100,0,0,1,3,1,2,80,80,60,1\n\n"
      "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n";
  const auto code = [](double seconds) {
    const auto cs = static_cast<std::int64_t>(std::llround(std::max(seconds, 0.0) * 100.0));
    return fmt::format("{}:{:02}:{:02}.{:02}", cs / 360000, cs / 6000 % 60, cs / 100 % 60, cs % 100);
  };
  for (const Cue& cue : cues) {
    std::string text;
    for (const std::string& line : cue.lines)
      text +=
          (text.empty() ? "" : "\\N") + replaced(replaced(replaced(line, "\\", "\\\u2060"), "{", "\\{"), "}", "\\}");
    out += fmt::format("Dialogue: 0,{},{},Default,,0,0,0,,{}\n", code(cue.start_s), code(cue.end_s), text);
  }
  return out;
}

std::string write_tsv(std::span<const TextSpan> spans) {
  std::string out = "start\tend\ttext\n";
  for (const TextSpan& span : spans) {
    if (!(span.end_s > span.start_s)) continue;
    const auto ms = [](double seconds) { return std::llround(std::max(seconds, 0.0) * 1000.0); };
    out += fmt::format("{}\t{}\t{}\n", ms(span.start_s), ms(span.end_s),
                       replaced(replaced(std::string(trimmed(span.text)), "\t", " "), "\n", " "));
  }
  return out;
}

}  // namespace morph::text
