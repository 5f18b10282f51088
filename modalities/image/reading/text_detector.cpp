// See text_detector.h.
#include "reading/text_detector.h"

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace morph::image {
namespace {

constexpr double kFirstLook = 4e6;    ///< pixels of the first look at a large picture
constexpr double kMostPixels = 64e6;  ///< of any look
constexpr int kOverlap = 128;         ///< of neighbouring tiles, and with it the context at a seam: half of it
constexpr int kMargin = 32;           ///< laid around the picture: print that touches its edge is not seen otherwise
constexpr double kSeesWell = 14;      ///< height of a detected kernel, in its pixels, from which print is seen well
constexpr double kTooLarge = 40;      ///< and up to which
constexpr std::size_t kMostBoxes = 5000;
constexpr float kMinSide = 3.0f;  ///< detected kernels thinner than this are specks

/// Corners clockwise from the top left, for boxes turned by less than 45 degrees.
Corners in_order(const cv::RotatedRect& rect) {
  Corners p;
  rect.points(p.data());
  std::sort(p.begin(), p.end(), [](const cv::Point2f& a, const cv::Point2f& b) { return a.x < b.x; });
  if (p[0].y > p[1].y) std::swap(p[0], p[1]);  // the two left ones: top first
  if (p[2].y > p[3].y) std::swap(p[2], p[3]);
  return {p[0], p[2], p[3], p[1]};
}

/// Mean probability (0..255) inside a quadrangle.
double mean_inside(const cv::Mat& map, const Corners& corners) {
  float left = 1e9f, top = 1e9f, right = -1e9f, bottom = -1e9f;
  for (const cv::Point2f& p : corners) {
    left = std::min(left, p.x);
    right = std::max(right, p.x);
    top = std::min(top, p.y);
    bottom = std::max(bottom, p.y);
  }
  const int x0 = std::clamp(static_cast<int>(std::floor(left)), 0, map.cols - 1);
  const int x1 = std::clamp(static_cast<int>(std::ceil(right)), x0, map.cols - 1);
  const int y0 = std::clamp(static_cast<int>(std::floor(top)), 0, map.rows - 1);
  const int y1 = std::clamp(static_cast<int>(std::ceil(bottom)), y0, map.rows - 1);
  cv::Mat mask = cv::Mat::zeros(y1 - y0 + 1, x1 - x0 + 1, CV_8UC1);
  std::vector<cv::Point> polygon;
  for (const cv::Point2f& p : corners)
    polygon.emplace_back(static_cast<int>(std::lround(p.x)) - x0, static_cast<int>(std::lround(p.y)) - y0);
  cv::fillPoly(mask, std::vector<std::vector<cv::Point>>{polygon}, cv::Scalar(1));
  return cv::mean(map(cv::Rect(x0, y0, x1 - x0 + 1, y1 - y0 + 1)), mask)[0];
}

/// The colour most of the picture's edge has.
cv::Scalar edge_colour(const cv::Mat& bgr) {
  cv::Scalar colour;
  std::array<std::vector<std::uint8_t>, 3> values;
  const auto take = [&](int x, int y) {
    for (int c = 0; c < 3; ++c) values[static_cast<std::size_t>(c)].push_back(bgr.at<cv::Vec3b>(y, x)[c]);
  };
  for (int x = 0; x < bgr.cols; ++x) {
    take(x, 0);
    take(x, bgr.rows - 1);
  }
  for (int y = 0; y < bgr.rows; ++y) {
    take(0, y);
    take(bgr.cols - 1, y);
  }
  for (std::size_t c = 0; c < 3; ++c) {
    auto& all = values[c];
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
    std::nth_element(all.begin(), middle, all.end());
    colour[static_cast<int>(c)] = *middle;
  }
  return colour;
}

/// Probabilities of the whole scaled picture, 8 bits, from its tiles: of an overlap each tile gives the half next to
/// it.
cv::Mat whole_map(const cv::Mat& bgr, const DetectionGrid& grid, const TextMap& map) {
  cv::Mat scaled;
  cv::resize(bgr, scaled, {grid.width, grid.height}, 0, 0, grid.scale < 1 ? cv::INTER_AREA : cv::INTER_LINEAR);
  const int step_x = grid.tile_width - kOverlap, step_y = grid.tile_height - kOverlap;
  const int full_width = step_x * (grid.n_across - 1) + grid.tile_width;
  const int full_height = step_y * (grid.n_down - 1) + grid.tile_height;
  cv::Mat framed;
  cv::copyMakeBorder(scaled, framed, kMargin, full_height - grid.height - kMargin, kMargin,
                     full_width - grid.width - kMargin, cv::BORDER_CONSTANT, edge_colour(bgr));
  scaled.release();
  cv::Mat all(full_height, full_width, CV_8UC1);
  for (int down = 0; down < grid.n_down; ++down)
    for (int across = 0; across < grid.n_across; ++across) {
      const cv::Rect place(across * step_x, down * step_y, grid.tile_width, grid.tile_height);
      const cv::Mat found = map(framed(place).clone());
      const int left = across == 0 ? 0 : kOverlap / 2, top = down == 0 ? 0 : kOverlap / 2;
      const cv::Rect own(left, top, grid.tile_width - left, grid.tile_height - top);
      found(own).convertTo(all(own + place.tl()), CV_8U, 255);
    }
  return all(cv::Rect(kMargin, kMargin, grid.width, grid.height)).clone();
}

/// Boxes in the picture's pixels; `heights` gets those of the kernels, in the map's.
Detection boxes_of(const cv::Mat& map, double scale, const DetectionOptions& options, std::vector<float>& heights) {
  Detection found;
  cv::Mat binary = map > static_cast<int>(options.pixel_threshold * 255);
  cv::dilate(binary, binary, cv::getStructuringElement(cv::MORPH_RECT, {2, 2}));
  std::vector<std::vector<cv::Point>> contours;
  cv::findContours(binary, contours, cv::RETR_LIST, cv::CHAIN_APPROX_SIMPLE);
  for (const auto& contour : contours) {
    cv::RotatedRect rect = cv::minAreaRect(contour);
    const float thin = std::min(rect.size.width, rect.size.height);
    if (thin < kMinSide) continue;
    if (mean_inside(map, in_order(rect)) < options.box_threshold * 255) continue;
    // Grow by area * ratio / perimeter on every side, as the detector was trained with shrunk kernels.
    const float grow = rect.size.area() * options.unclip_ratio / (2 * (rect.size.width + rect.size.height));
    rect.size.width += 2 * grow;
    rect.size.height += 2 * grow;
    if (std::min(rect.size.width, rect.size.height) < kMinSide + 2) continue;
    if (found.boxes.size() >= kMostBoxes) {
      ++found.n_left_out;
      continue;
    }
    Corners corners = in_order(rect);
    for (cv::Point2f& p : corners) p *= 1 / scale;
    found.boxes.push_back(corners);
    heights.push_back(thin);
  }
  return found;
}

double median(std::vector<float>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

DetectionGrid detection_grid(int width, int height, int max_side, double scale) {
  DetectionGrid grid;
  const double longest = std::max(width, height), shortest = std::min(width, height);
  const double area = static_cast<double>(width) * height;
  if (scale <= 0) {
    scale = 1;
    if (shortest < 736) scale = std::clamp(736 / shortest, 1.0, std::max(1.0, max_side / longest));
    if (area * scale * scale > kFirstLook) scale = std::sqrt(kFirstLook / area);
  }
  grid.scale = std::min(scale, std::sqrt(kMostPixels / area));
  grid.width = std::max(1, static_cast<int>(std::lround(width * grid.scale)));
  grid.height = std::max(1, static_cast<int>(std::lround(height * grid.scale)));
  const auto cut = [max_side](int length, int& n, int& tile) {
    const int whole = length + 2 * kMargin, most = std::max(512, max_side / 32 * 32);
    n = whole <= most ? 1 : (whole - kOverlap + most - kOverlap - 1) / (most - kOverlap);
    tile = ((whole + (n - 1) * kOverlap + n - 1) / n + 31) / 32 * 32;
  };
  cut(grid.width, grid.n_across, grid.tile_width);
  cut(grid.height, grid.n_down, grid.tile_height);
  return grid;
}

Detection detect_text(const cv::Mat& bgr, const DetectionOptions& options, const TextMap& map) {
  DetectionGrid grid = detection_grid(bgr.cols, bgr.rows, options.max_side);
  std::vector<float> heights;
  Detection found = boxes_of(whole_map(bgr, grid, map), grid.scale, options, heights);
  const double seen = heights.empty() ? 0 : median(heights);
  if (seen >= kSeesWell && seen <= kTooLarge) return found;
  // Small print, or nothing that was seen at the picture's reduced size: a closer look, up to twice the own scale. Of
  // large letters single strokes are seen: from further away they are lines.
  const double wanted = seen > 0 ? grid.scale * std::min(3.0, 1.5 * kSeesWell / seen) : 1.0;
  const DetectionGrid other =
      detection_grid(bgr.cols, bgr.rows, options.max_side, std::min(wanted, std::max(2.0, grid.scale)));
  if (other.scale > grid.scale * 1.15 || other.scale < grid.scale * 0.85) {
    heights.clear();
    Detection again = boxes_of(whole_map(bgr, other, map), other.scale, options, heights);
    if (seen > kTooLarge ? !again.boxes.empty() : again.boxes.size() >= found.boxes.size()) found = std::move(again);
  }
  found.too_small = wanted > other.scale * 2;
  return found;
}

}  // namespace morph::image
