// Reading order. See page_layout.h.
#include "reading/page_layout.h"

#include <algorithm>
#include <cmath>
#include <numbers>
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

/// Direction of the upper side of a box, radians clockwise from the right.
float direction(const Quad& q) { return std::atan2(q[3] - q[1], q[2] - q[0]); }

float between(float angle, float other) { return std::remainder(angle - other, 2 * std::numbers::pi_v<float>); }

/// Direction in which the page is read: long lines decide about where, the median of all is exact.
float page_direction(const std::vector<TextSpan>& spans) {
  float x = 0, y = 0;
  for (const TextSpan& span : spans) {
    const Quad& q = *span.box;
    x += q[2] - q[0];
    y += q[3] - q[1];
  }
  const float about = std::atan2(y, x);
  std::vector<float> off;
  for (const TextSpan& span : spans) off.push_back(between(direction(*span.box), about));
  return about + median(off);
}

}  // namespace

std::vector<int> sort_into_lines(std::vector<TextSpan>& spans) {
  if (spans.empty()) return {};
  const float angle = page_direction(spans);
  const float c = std::cos(-angle);
  const float s = std::sin(-angle);
  std::vector<Placed> placed;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const Quad& q = *spans[i].box;
    const float x = (q[0] + q[2] + q[4] + q[6]) / 4;
    const float y = (q[1] + q[3] + q[5] + q[7]) / 4;
    // A short piece, taller than wide, may have been taken for one that lies on its side.
    const bool on_its_side = std::abs(std::sin(between(direction(q), angle))) > 0.7f;
    const float height = on_its_side ? std::hypot(q[2] - q[0], q[3] - q[1]) : std::hypot(q[6] - q[0], q[7] - q[1]);
    placed.push_back({i, c * x - s * y, s * x + c * y, height});
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
