// See word_gaps.h.
#include "reading/word_gaps.h"

#include <algorithm>
#include <cstdint>
#include <opencv2/imgproc.hpp>

namespace morph::image {
namespace {

struct Blank {
  float middle = 0, width = 0;
};

/// Runs of columns without ink between the first and the last that has some; `height` gets the ink's.
std::vector<Blank> blanks_of(const cv::Mat& line, float& height) {
  cv::Mat grey, ink;
  cv::cvtColor(line, grey, cv::COLOR_BGR2GRAY);
  cv::threshold(grey, ink, 0, 255, cv::THRESH_BINARY_INV | cv::THRESH_OTSU);
  if (cv::countNonZero(ink) * 2 > ink.rows * ink.cols) cv::bitwise_not(ink, ink);  // light strokes on a dark ground
  cv::Mat columns, rows;
  cv::reduce(ink, columns, 0, cv::REDUCE_MAX);
  cv::reduce(ink, rows, 1, cv::REDUCE_MAX);
  height = static_cast<float>(cv::countNonZero(rows));
  std::vector<Blank> blanks;
  int last = -1;
  for (int x = 0; x < columns.cols; ++x) {
    if (columns.at<std::uint8_t>(0, x) == 0) continue;
    if (last >= 0 && x - last > 1)
      blanks.push_back({static_cast<float>(x + last) / 2, static_cast<float>(x - last - 1)});
    last = x;
  }
  return blanks;
}

float median(std::vector<float> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

bool is_east_asian(const std::string& utf8) {
  if (utf8.empty()) return false;
  const auto byte = [&](std::size_t i) {
    return i < utf8.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(utf8[i])) : 0u;
  };
  std::uint32_t code = byte(0);
  if (code >= 0xF0)
    code = (code & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
  else if (code >= 0xE0)
    code = (code & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
  else
    return false;
  return (code >= 0x2E80 && code <= 0xA4CF) || (code >= 0xAC00 && code <= 0xD7AF) ||
         (code >= 0xF900 && code <= 0xFAFF) || (code >= 0xFE30 && code <= 0xFE4F) ||
         (code >= 0xFF00 && code <= 0xFFEF) || code >= 0x20000;
}

std::string with_word_gaps(const std::vector<PlacedCharacter>& characters, const cv::Mat& line) {
  struct Letter {
    const PlacedCharacter* character;
    bool space_before;
    float gap;  ///< the widest blank between this letter and the one before
  };
  std::vector<Letter> letters;
  bool space = false;
  for (const PlacedCharacter& each : characters) {
    if (each.text != " ") letters.push_back({&each, space && !letters.empty(), 0});
    space = each.text == " ";
  }
  float height = 0;
  const std::vector<Blank> blanks = letters.size() < 2 ? std::vector<Blank>() : blanks_of(line, height);
  for (const Blank& blank : blanks) {
    const auto after = std::upper_bound(letters.begin(), letters.end(), blank.middle,
                                        [](float x, const Letter& letter) { return x < letter.character->x; });
    if (after != letters.begin() && after != letters.end()) after->gap = std::max(after->gap, blank.width);
  }
  std::vector<float> inside, between;  // words
  for (std::size_t i = 1; i < letters.size(); ++i)
    (letters[i].space_before ? between : inside).push_back(letters[i].gap);
  // Spaces that were read say how wide they are here; else what is usual between letters does.
  const float least = between.empty() ? std::max(0.2f * height, 1.6f * median(inside) + 2)
                                      : std::max(0.15f * height, 0.7f * median(between));
  std::string text;
  for (std::size_t i = 0; i < letters.size(); ++i) {
    const bool words =
        i > 0 && !is_east_asian(letters[i].character->text) && !is_east_asian(letters[i - 1].character->text);
    if (letters[i].space_before || (words && letters[i].gap > least)) text += ' ';
    text += letters[i].character->text;
  }
  return text;
}

}  // namespace morph::image
