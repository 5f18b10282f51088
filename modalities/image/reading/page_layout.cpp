// Reading order. See page_layout.h.
#include "reading/page_layout.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace morph::image {
namespace {

struct Placed {
  std::size_t span = 0;
  float x = 0, y = 0, height = 0;  ///< centre and height on the straightened page
};

float median(std::vector<float> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::vector<int> sort_into_lines(std::vector<TextSpan>& spans) {
  if (spans.empty()) return {};
  std::vector<float> angles;
  for (const TextSpan& span : spans) {
    const Quad& q = *span.box;
    angles.push_back(std::atan2(q[3] - q[1], q[2] - q[0]));
  }
  const float angle = median(angles);
  const float c = std::cos(-angle);
  const float s = std::sin(-angle);
  std::vector<Placed> placed;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const Quad& q = *spans[i].box;
    const float x = (q[0] + q[2] + q[4] + q[6]) / 4;
    const float y = (q[1] + q[3] + q[5] + q[7]) / 4;
    placed.push_back({i, c * x - s * y, s * x + c * y, std::hypot(q[6] - q[0], q[7] - q[1])});
  }
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.y < b.y; });
  // A piece belongs to the current line while its centre is within half a height of the line's mean centre.
  std::vector<int> line_of(placed.size(), 0);
  float sum = placed[0].y;
  int count = 1;
  for (std::size_t i = 1; i < placed.size(); ++i) {
    const bool same =
        placed[i].y - sum / static_cast<float>(count) < 0.5f * std::min(placed[i].height, placed[i - 1].height);
    line_of[i] = line_of[i - 1] + (same ? 0 : 1);
    sum = same ? sum + placed[i].y : placed[i].y;
    count = same ? count + 1 : 1;
  }
  std::vector<std::size_t> order(placed.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return line_of[a] != line_of[b] ? line_of[a] < line_of[b] : placed[a].x < placed[b].x;
  });
  std::vector<TextSpan> sorted;
  std::vector<int> lines;
  for (const std::size_t index : order) {
    sorted.push_back(std::move(spans[placed[index].span]));
    lines.push_back(line_of[index]);
  }
  spans = std::move(sorted);
  return lines;
}

std::string join_lines(const std::vector<TextSpan>& spans, const std::vector<int>& lines) {
  std::string text;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    if (i > 0) text += lines[i] == lines[i - 1] ? ' ' : '\n';
    text += spans[i].text;
  }
  return text;
}

}  // namespace morph::image
