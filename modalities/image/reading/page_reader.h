// Reading text in images with PP-OCR: a detector finds lines as quadrangles (DB, arXiv:1911.08947), an optional
// classifier says which are upside down, a recogniser (CTC) reads each. Follows the published ONNX files; the pre- and
// post-processing constants are PaddleOCR's.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "delegates/openvino/delegate.h"
#include "morph/image.h"
#include "morph/text.h"

namespace morph::image {

struct ReadingOptions {
  float detect_threshold = 0.3f;  ///< a pixel belongs to text from here
  float box_threshold = 0.5f;     ///< mean probability a line needs
  float unclip_ratio = 1.6f;      ///< how far a detected kernel is grown
  float text_threshold = 0.5f;    ///< mean character probability a reading needs
  int max_side = 1536;            ///< longest side given to the detector, pixels
};

/// Size in pixels at which the detector sees a picture: small ones are enlarged, large ones shrunk to `max_side`, sides
/// are multiples of 32.
struct DetectorSize {
  int width = 0, height = 0;
};
DetectorSize detector_size(int width, int height, int max_side);

/// The three networks of one PP-OCR checkpoint folder (det.onnx, rec.onnx, optional cls.onnx). Immutable.
class PageReader {
 public:
  /// Throws Error{weights} when a network or the recogniser's character list is missing.
  PageReader(ModelStore& store, const std::filesystem::path& folder, const openvino::OnnxOptions& options);

  struct Sessions {
    std::unique_ptr<openvino::OnnxSession> detect, classify, recognise;  ///< classify may be null
  };
  Sessions create_sessions() const;

  /// All text of an RGB image in reading order: lines joined by newlines, one span per detected piece with its box and
  /// confidence. `cancelled` is asked between lines, `progress` told.
  std::shared_ptr<const Text> read(Sessions& sessions, const Image& image, const ReadingOptions& options,
                                   const std::function<bool()>& cancelled,
                                   const std::function<void(double)>& progress) const;

  struct Reading {
    std::string text;
    float confidence = 0;  ///< mean of its characters
  };

 private:
  using Corners = std::array<cv::Point2f, 4>;
  /// Reads a lying line, whichever way up it is; turns `box` so that it begins at the top left of what was read.
  Reading read_line(Sessions& sessions, cv::Mat& line, Corners& box) const;

  std::shared_ptr<const openvino::OnnxModel> detect_, classify_, recognise_;
  std::vector<std::string> characters_;  ///< index 0 is CTC's blank
};

}  // namespace morph::image
