// Reading order. See page_layout.h. Blocks are found by recursive cuts along blank strips (XY cut, Nagy and Seth 1984).
#include "reading/page_layout.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <utility>

#include "reading/word_gaps.h"

namespace morph::image {
namespace {

struct Placed {
  std::size_t span = 0;
  float x = 0, y = 0, height = 0;  ///< centre and height on the straightened page
  float left = 0, right = 0, top = 0, bottom = 0;
  int n_characters = 0;
  bool east_asian = false;
};

using Region = std::vector<Placed>;

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

int count_characters(const std::string& utf8) {
  return static_cast<int>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Where the pieces lie on the straightened page.
Region straightened(const std::vector<TextSpan>& spans) {
  const float angle = page_direction(spans);
  const float c = std::cos(-angle), s = std::sin(-angle);
  Region region;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const Quad& q = *spans[i].box;
    Placed piece;
    piece.span = i;
    piece.left = piece.top = std::numeric_limits<float>::max();
    piece.right = piece.bottom = std::numeric_limits<float>::lowest();
    for (std::size_t corner = 0; corner < 8; corner += 2) {
      const float x = c * q[corner] - s * q[corner + 1], y = s * q[corner] + c * q[corner + 1];
      piece.x += x / 4;
      piece.y += y / 4;
      piece.left = std::min(piece.left, x);
      piece.right = std::max(piece.right, x);
      piece.top = std::min(piece.top, y);
      piece.bottom = std::max(piece.bottom, y);
    }
    // A short piece, taller than wide, may have been taken for one that lies on its side.
    const bool on_its_side = std::abs(std::sin(between(direction(q), angle))) > 0.7f;
    piece.height = on_its_side ? std::hypot(q[2] - q[0], q[3] - q[1]) : std::hypot(q[6] - q[0], q[7] - q[1]);
    piece.n_characters = count_characters(spans[i].text);
    piece.east_asian = is_east_asian(spans[i].text);
    region.push_back(piece);
  }
  return region;
}

float median_height(const Region& region) {
  std::vector<float> heights;
  for (const Placed& piece : region) heights.push_back(piece.height);
  return median(std::move(heights));
}

/// Pieces of each line, from top to bottom, and left to right in a line. A piece belongs to the current line while more
/// than half of the lower of both stands beside the other.
std::vector<Region> rows_of(Region region) {
  std::sort(region.begin(), region.end(), [](const Placed& a, const Placed& b) { return a.y < b.y; });
  std::vector<Region> rows;
  float y = 0, height = 0;  // of the current line, mean over its pieces
  for (const Placed& piece : region) {
    const float beside = (height + piece.height) / 2 - std::abs(piece.y - y);
    const bool same = !rows.empty() && beside > 0.5f * std::min(height, piece.height);
    if (!same) {
      rows.emplace_back();
      y = height = 0;
    }
    rows.back().push_back(piece);
    const auto n = static_cast<float>(rows.back().size());
    y += (piece.y - y) / n;
    height += (piece.height - height) / n;
  }
  for (Region& row : rows)
    std::sort(row.begin(), row.end(), [](const Placed& a, const Placed& b) { return a.x < b.x; });
  return rows;
}

/// Whether most rows are running text, not cells of a table: wide for their height, and several.
bool is_prose(const Region& region) {
  constexpr std::size_t kFewestRows = 3;
  constexpr float kWide = 6;  // times the height: about twelve letters
  const std::vector<Region> rows = rows_of(region);
  if (rows.size() < kFewestRows) return false;
  const auto wide = [](const Region& row) {
    float letters = 0, height = 0;
    for (const Placed& piece : row) {
      letters += piece.right - piece.left;
      height = std::max(height, piece.height);
    }
    return letters > kWide * height;
  };
  return 3 * std::count_if(rows.begin(), rows.end(), wide) >= 2 * static_cast<std::ptrdiff_t>(rows.size());
}

/// The middle of the widest blank strip from top to bottom that parts two columns of running text.
std::optional<float> column_gap(const Region& region, bool any = false) {
  Region sorted = region;
  std::sort(sorted.begin(), sorted.end(), [](const Placed& a, const Placed& b) { return a.left < b.left; });
  const float least = 0.8f * median_height(region);
  std::optional<float> best;
  float widest = least, right = sorted.front().right;
  for (const Placed& piece : sorted) {
    const float width = piece.left - right;
    if (width > widest) {
      const float middle = right + width / 2;
      Region one, other;
      for (const Placed& each : region) (each.x < middle ? one : other).push_back(each);
      if (any || (is_prose(one) && is_prose(other))) {
        widest = width;
        best = middle;
      }
    }
    right = std::max(right, piece.right);
  }
  return best;
}

/// Whether these are characters of vertical writing: East Asian ones, each a piece or stacked in tall pieces, nearer to
/// the one below than to the one beside.
bool is_vertical(const Region& region) {
  std::size_t n = 0, stacked = 0;
  for (const Placed& piece : region) {
    if (!piece.east_asian) continue;
    const float width = piece.right - piece.left, height = piece.bottom - piece.top;
    if (piece.n_characters > 1 && height > 1.5f * width) {
      ++n, ++stacked;
      continue;
    }
    if (piece.n_characters > 2 || width > 2 * height) return false;  // a line of them lies
    float below = std::numeric_limits<float>::max(), beside = below;
    for (const Placed& other : region) {
      if (other.span == piece.span) continue;
      const float across = std::abs(other.x - piece.x), down = std::abs(other.y - piece.y);
      if (across < 0.5f * width) below = std::min(below, down);
      if (down < 0.5f * height) beside = std::min(beside, across);
    }
    ++n;
    if (below < 1.1f * beside) ++stacked;  // characters that stand apart in a line are rare
  }
  return n * 2 > region.size() && stacked * 4 > n * 3 && region.size() > 1;
}

/// Columns from right to left, each from top to bottom, as lines.
void vertical_lines(Region region, std::vector<Region>& lines) {
  std::sort(region.begin(), region.end(), [](const Placed& a, const Placed& b) { return a.x > b.x; });
  std::vector<Region> columns;
  for (const Placed& piece : region) {
    const bool same = !columns.empty() && columns.back().front().x - piece.x < 0.5f * (piece.right - piece.left);
    if (!same) columns.emplace_back();
    columns.back().push_back(piece);
  }
  for (Region& column : columns) {
    std::sort(column.begin(), column.end(), [](const Placed& a, const Placed& b) { return a.y < b.y; });
    lines.push_back(std::move(column));
  }
}

/// Pieces that no blank strip from left to right parts, from top to bottom.
std::vector<Region> bands_of(Region region) {
  std::sort(region.begin(), region.end(), [](const Placed& a, const Placed& b) { return a.top < b.top; });
  std::vector<Region> bands;
  float bottom = 0;
  for (const Placed& piece : region) {
    // Boxes are grown beyond their print and may touch.
    if (bands.empty() || piece.top > bottom - 0.3f * piece.height) {
      bands.emplace_back();
      bottom = piece.bottom;
    }
    bands.back().push_back(piece);
    bottom = std::max(bottom, piece.bottom);
  }
  return bands;
}

void cut(const Region& region, std::vector<Region>& lines, int depth);

/// Splits at `middle` and reads the left part first.
void cut_columns(const Region& region, float middle, std::vector<Region>& lines, int depth) {
  Region one, other;
  for (const Placed& piece : region) (piece.x < middle ? one : other).push_back(piece);
  cut(one, lines, depth + 1);
  cut(other, lines, depth + 1);
}

/// Appends the lines of a region in reading order.
void cut(const Region& region, std::vector<Region>& lines, int depth) {
  constexpr int kDeepest = 32;
  if (region.empty()) return;
  if (is_vertical(region)) return vertical_lines(region, lines);
  const auto plain = [&](Region rest) {
    for (Region& row : rows_of(std::move(rest))) lines.push_back(std::move(row));
  };
  if (depth >= kDeepest || region.size() < 4) return plain(region);
  if (const std::optional<float> middle = column_gap(region)) return cut_columns(region, *middle, lines, depth);
  // Runs of bands that a column gap goes through stand between lines that cross it, such as titles.
  const std::vector<Region> bands = bands_of(region);
  if (bands.size() < 2) return plain(region);
  Region before;
  for (std::size_t first = 0; first < bands.size();) {
    Region run = bands[first];
    std::size_t last = first;
    while (last + 1 < bands.size()) {
      Region longer = run;
      longer.insert(longer.end(), bands[last + 1].begin(), bands[last + 1].end());
      if (!column_gap(longer, true)) break;
      run = std::move(longer);
      ++last;
    }
    const std::optional<float> middle = run.size() >= 4 ? column_gap(run) : std::nullopt;
    if (middle) {
      plain(std::exchange(before, {}));
      cut_columns(run, *middle, lines, depth);
      first = last + 1;
    } else {
      before.insert(before.end(), bands[first].begin(), bands[first].end());
      ++first;
    }
  }
  plain(std::move(before));
}

/// East Asian characters of a piece that lies and stands wide apart, as pieces of their own: in vertical writing they
/// belong to columns.
void part_characters(std::vector<TextSpan>& spans) {
  std::vector<TextSpan> parted;
  for (TextSpan& span : spans) {
    std::vector<std::string> characters;
    for (const char c : span.text)
      if ((static_cast<unsigned char>(c) & 0xC0) != 0x80 || characters.empty())
        characters.emplace_back(1, c);
      else
        characters.back() += c;
    const Quad& q = *span.box;
    const float width = std::hypot(q[2] - q[0], q[3] - q[1]), height = std::hypot(q[6] - q[0], q[7] - q[1]);
    const float glyph = 0.8f * height;  // boxes are grown beyond their print
    const auto n = static_cast<float>(characters.size());
    const float pitch = n > 1 ? (width - glyph) / (n - 1) : 0;
    if (pitch < 1.3f * glyph || !std::all_of(characters.begin(), characters.end(), is_east_asian)) {
      parted.push_back(std::move(span));
      continue;
    }
    for (std::size_t i = 0; i < characters.size(); ++i) {
      const float begin = static_cast<float>(i) * pitch / width, end = begin + glyph / width;
      TextSpan one = span;
      one.text = characters[i];
      for (std::size_t side = 0; side < 2; ++side) {  // upper corners 0 and 1, lower ones 3 and 2
        const float x0 = side == 0 ? q[0] : q[6], y0 = side == 0 ? q[1] : q[7];
        const float x1 = side == 0 ? q[2] : q[4], y1 = side == 0 ? q[3] : q[5];
        const std::size_t first = side == 0 ? 0 : 6, second = side == 0 ? 2 : 4;
        (*one.box)[first] = x0 + begin * (x1 - x0);
        (*one.box)[first + 1] = y0 + begin * (y1 - y0);
        (*one.box)[second] = x0 + end * (x1 - x0);
        (*one.box)[second + 1] = y0 + end * (y1 - y0);
      }
      parted.push_back(std::move(one));
    }
  }
  spans = std::move(parted);
}

}  // namespace

std::vector<int> sort_into_lines(std::vector<TextSpan>& spans) {
  if (spans.empty()) return {};
  part_characters(spans);
  std::vector<Region> rows;
  cut(straightened(spans), rows, 0);
  std::vector<TextSpan> sorted;
  std::vector<int> lines;
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (const Placed& piece : rows[i]) {
      sorted.push_back(std::move(spans[piece.span]));
      lines.push_back(static_cast<int>(i));
    }
  spans = std::move(sorted);
  return lines;
}

std::string join_lines(const std::vector<TextSpan>& spans, const std::vector<int>& lines) {
  std::string text;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const bool same = i > 0 && lines[i] == lines[i - 1];
    // Ideographs that stand alone, as in vertical writing, are no words of their own.
    const bool close = same && is_east_asian(spans[i].text) && count_characters(spans[i - 1].text) <= 2 &&
                       is_east_asian(spans[i - 1].text);
    if (i > 0 && !close) text += same ? ' ' : '\n';
    text += spans[i].text;
  }
  return text;
}

}  // namespace morph::image
