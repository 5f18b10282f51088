// Spaces between words that a recogniser of many scripts leaves out: where the letters of a line stand further apart
// than the letters of a word do.
#pragma once

#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace morph::image {

/// A character that was read, and where: its middle, in pixels of the line's picture.
struct PlacedCharacter {
  std::string text;
  float x = 0;
};

/// The characters joined, with a space added in every blank of the picture (BGR, one lying line) that is wider than
/// those between the letters of a word. Not beside ideographs, kana and hangul, whose blanks mean nothing, nor where a
/// space was read.
std::string with_word_gaps(const std::vector<PlacedCharacter>& characters, const cv::Mat& line);

/// Whether the first character is an ideograph, kana, hangul or their punctuation.
bool is_east_asian(const std::string& utf8);

}  // namespace morph::image
