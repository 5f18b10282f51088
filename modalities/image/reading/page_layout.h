// Reading order of pieces of text found on a page.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "morph/text.h"

namespace morph::image {

/// Corners of a quadrangle in pixels, clockwise from the top left of its text: x0 y0 x1 y1 x2 y2 x3 y3.
using Quad = std::array<float, 8>;

/// Sorts spans that have boxes into reading order on a page that may be turned (most boxes say how, by the direction of
/// their first side). Columns of running text that a blank strip parts are read one after the other; else lines go from
/// top to bottom, and left to right in a line, as tables do. Vertical writing goes in columns from right to left.
/// Returns the number of the line of each span.
std::vector<int> sort_into_lines(std::vector<TextSpan>& spans);

/// Lines joined by newlines, pieces of a line by spaces, single ideographs by nothing.
std::string join_lines(const std::vector<TextSpan>& spans, const std::vector<int>& lines);

}  // namespace morph::image
