// See word_alignment.h.
#include "recognise/word_alignment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace morph::audio {
namespace {

constexpr int kMedianWidth = 7;
constexpr std::array<std::string_view, 7> kUnspaced{"zh", "ja", "th", "lo", "my", "yue", "km"};
constexpr std::array<std::string_view, 8> kOpening{"\"", "'", "\u201c", "\u00bf", "(", "[", "{", "-"};
constexpr std::array<std::string_view, 20> kClosing{"\"",     "'", ".",      "\u3002", ",",      "\uff0c", "!",
                                                    "\uff01", "?", "\uff1f", ":",      "\uff1a", "\u201d", ")",
                                                    "]",      "}", "\u3001", ";",      "\u2026", "%"};

template <std::size_t n>
bool among(const std::array<std::string_view, n>& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

std::string_view without_space(std::string_view text) {
  const std::size_t start = text.find_first_not_of(' ');
  return start == std::string_view::npos ? std::string_view() : text.substr(start);
}

bool only_marks(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return code < 0x80 && std::ispunct(code) != 0;
  });
}

bool ends_sentence(const std::string& word) {
  for (const std::string_view mark : {".", "!", "?", "\u3002", "\uff01", "\uff1f"})
    if (word.ends_with(mark)) return true;
  return false;
}

/// Pieces that are whole characters.
std::vector<WordTokens> whole_characters(std::span<const int> tokens, const TokenText& names) {
  std::vector<WordTokens> pieces;
  std::string bytes;
  std::size_t first = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    bytes += names.piece(tokens[i]);
    if (valid_utf8(bytes) != bytes && i + 1 < tokens.size()) continue;
    pieces.push_back({valid_utf8(bytes), first, i + 1 - first});
    bytes.clear();
    first = i + 1;
  }
  return pieces;
}

void join(WordTokens& to, const WordTokens& from) {
  to.text += from.text;
  to.n += from.n;
}

/// Median over kMedianWidth neighbours, mirrored at the ends.
void median_filter(std::span<float> row, std::vector<float>& copy) {
  const auto n = static_cast<std::ptrdiff_t>(row.size());
  constexpr std::ptrdiff_t kHalf = kMedianWidth / 2;
  if (n <= kHalf) return;
  copy.assign(row.begin(), row.end());
  std::array<float, kMedianWidth> around{};
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    for (std::ptrdiff_t k = -kHalf; k <= kHalf; ++k) {
      std::ptrdiff_t at = i + k;
      if (at < 0) at = -at;
      if (at >= n) at = 2 * (n - 1) - at;
      around[static_cast<std::size_t>(k + kHalf)] = copy[static_cast<std::size_t>(at)];
    }
    std::nth_element(around.begin(), around.begin() + kHalf, around.end());
    row[static_cast<std::size_t>(i)] = around[kHalf];
  }
}

}  // namespace

std::vector<WordTokens> split_words(std::span<const int> tokens, const TokenText& names, const std::string& language) {
  const std::vector<WordTokens> pieces = whole_characters(tokens, names);
  const bool spaced = !among(kUnspaced, language);
  std::vector<WordTokens> words;
  for (const WordTokens& piece : pieces) {
    const bool begins = !spaced || words.empty() || piece.text.starts_with(' ') || only_marks(piece.text);
    if (begins)
      words.push_back(piece);
    else
      join(words.back(), piece);
  }
  // Marks belong to the word they stand at.
  std::vector<WordTokens> merged;
  for (const WordTokens& word : words) {
    const bool closes = !merged.empty() && !word.text.starts_with(' ') && among(kClosing, without_space(word.text));
    const bool opened = !merged.empty() && merged.back().text.starts_with(' ') && !word.text.starts_with(' ') &&
                        among(kOpening, without_space(merged.back().text));
    if (closes || opened)
      join(merged.back(), word);
    else
      merged.push_back(word);
  }
  return merged;
}

std::vector<int> warp(std::span<const float> costs, int n_rows, int n_columns) {
  const auto width = static_cast<std::size_t>(n_columns) + 1;
  std::vector<float> least(width * (static_cast<std::size_t>(n_rows) + 1), INFINITY);
  std::vector<std::uint8_t> from(least.size(), 0);
  least[0] = 0;
  for (std::size_t i = 1; i <= static_cast<std::size_t>(n_rows); ++i)
    for (std::size_t j = 1; j < width; ++j) {
      const float diagonal = least[(i - 1) * width + j - 1], up = least[(i - 1) * width + j],
                  left = least[i * width + j - 1];
      float best = left;
      std::uint8_t step = 2;
      if (diagonal < up && diagonal < left) {
        best = diagonal;
        step = 0;
      } else if (up < diagonal && up < left) {
        best = up;
        step = 1;
      }
      least[i * width + j] = best + costs[(i - 1) * static_cast<std::size_t>(n_columns) + j - 1];
      from[i * width + j] = step;
    }
  std::vector<int> starts(static_cast<std::size_t>(n_rows), 0);
  std::size_t i = static_cast<std::size_t>(n_rows), j = static_cast<std::size_t>(n_columns);
  while (i > 0 && j > 0) {
    starts[i - 1] = static_cast<int>(j) - 1;
    const std::uint8_t step = from[i * width + j];
    if (step != 2) --i;
    if (step != 1) --j;
  }
  return starts;
}

std::vector<int> token_starts(std::span<const float> scores, int n_audio, int n_rows, int n_heads, int first,
                              int n_frames) {
  const int n_text = n_rows - 1 - first;
  if (n_text <= 0 || n_frames <= 0) return {};
  const auto frames = static_cast<std::size_t>(n_frames), rows = static_cast<std::size_t>(n_rows);
  std::vector<float> mean(frames * static_cast<std::size_t>(n_text), 0.0f), weights(frames * rows), copy;
  for (int head = 0; head < n_heads; ++head) {
    for (std::size_t row = 0; row < rows; ++row) {
      const float* from =
          scores.data() + (static_cast<std::size_t>(head) * rows + row) * static_cast<std::size_t>(n_audio);
      float* to = weights.data() + row * frames;
      const float top = *std::max_element(from, from + frames);
      float sum = 0;
      for (std::size_t i = 0; i < frames; ++i) sum += to[i] = std::exp(from[i] - top);
      for (std::size_t i = 0; i < frames; ++i) to[i] /= sum;
    }
    for (std::size_t i = 0; i < frames; ++i) {  // over the tokens: none is looked at most everywhere
      double sum = 0, squares = 0;
      for (std::size_t row = 0; row < rows; ++row) {
        const double x = weights[row * frames + i];
        sum += x;
        squares += x * x;
      }
      const double average = sum / static_cast<double>(rows);
      const double deviation = std::sqrt(std::max(squares / static_cast<double>(rows) - average * average, 1e-20));
      for (std::size_t row = 0; row < rows; ++row)
        weights[row * frames + i] = static_cast<float>((weights[row * frames + i] - average) / deviation);
    }
    for (std::size_t row = static_cast<std::size_t>(first); row + 1 < rows; ++row) {
      const std::span<float> one = std::span(weights).subspan(row * frames, frames);
      median_filter(one, copy);
      float* to = mean.data() + (row - static_cast<std::size_t>(first)) * frames;
      for (std::size_t i = 0; i < frames; ++i) to[i] -= one[i] / static_cast<float>(n_heads);
    }
  }
  return warp(mean, n_text, n_frames);
}

void shorten_stretched(std::vector<HeardWord>& words) {
  std::vector<double> lengths;
  for (const HeardWord& word : words)
    if (word.end_s > word.start_s) lengths.push_back(word.end_s - word.start_s);
  if (lengths.empty()) return;
  std::nth_element(lengths.begin(), lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 2), lengths.end());
  const double longest = 2.0 * std::min(0.7, lengths[lengths.size() / 2]);
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].end_s - words[i].start_s <= longest) continue;
    if (ends_sentence(words[i].text) || i + 1 == words.size())
      words[i].end_s = words[i].start_s + longest;
    else if (i == 0 || ends_sentence(words[i - 1].text))
      words[i].start_s = words[i].end_s - longest;
  }
}

}  // namespace morph::audio
