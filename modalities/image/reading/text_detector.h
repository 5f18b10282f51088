// Where text is on a page: the detector of PP-OCR (DB, arXiv:1911.08947) over tiles of the picture at the scale at
// which its print is seen, put together to one map of probabilities, and the quadrangles in that map. The
// post-processing constants are PaddleOCR's.
#pragma once

#include <array>
#include <functional>
#include <opencv2/core.hpp>
#include <vector>

#include "delegates/openvino/delegate.h"

namespace morph::image {

/// Corners of a quadrangle, clockwise from the top left of its text.
using Corners = std::array<cv::Point2f, 4>;

struct DetectionOptions {
  float pixel_threshold = 0.3f;  ///< a pixel belongs to text from here
  float box_threshold = 0.5f;    ///< mean probability a line needs
  float unclip_ratio = 1.6f;     ///< how far a detected kernel is grown
  int max_side = 1536;           ///< longest side of a tile, pixels
};

/// How the detector looks at a picture: its size after scaling, and the tiles that cover it.
struct DetectionGrid {
  double scale = 1;
  int width = 0, height = 0;            ///< of the scaled picture
  int tile_width = 0, tile_height = 0;  ///< multiples of 32
  int n_across = 1, n_down = 1;
};

/// Small pictures are enlarged (thin strokes do not survive otherwise), pictures of more than 4 megapixels shrunk to
/// that unless `own_scale`; what exceeds a tile is cut into equal ones that overlap.
DetectionGrid detection_grid(int width, int height, int max_side, double scale = 0);

/// What was found on one picture.
struct Detection {
  std::vector<Corners> boxes;  ///< in the picture's pixels
  bool too_small = false;      ///< print was left that is too small to be seen even at twice the picture's own scale
  std::size_t n_left_out = 0;  ///< places beyond the most that are read
};

/// Map of text probabilities [height, width] in 0..1 of a BGR picture whose sides are multiples of 32.
using TextMap = std::function<cv::Mat(const cv::Mat& bgr)>;

/// Looks at the picture once; again at a larger scale where what it saw is small print.
Detection detect_text(const cv::Mat& bgr, const DetectionOptions& options, const TextMap& map);

}  // namespace morph::image
