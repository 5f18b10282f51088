// Reading text in images with PP-OCR: a detector finds lines as quadrangles (text_detector.h), an optional classifier
// says which are upside down, a recogniser (CTC) reads each. Follows the published ONNX files; the pre- and
// post-processing constants are PaddleOCR's.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

#include "delegates/openvino/delegate.h"
#include "morph/image.h"
#include "morph/text.h"
#include "reading/text_detector.h"

namespace morph::image {

struct ReadingOptions {
  DetectionOptions detection;
  float text_threshold = 0.5f;  ///< mean character probability a reading needs
};

/// What was seen on a page and is not in its text.
struct Unread {
  std::size_t n_unclear = 0;   ///< places that look like text and were read below the threshold
  std::size_t n_left_out = 0;  ///< places beyond the most that are read
  bool too_small = false;      ///< print that is too small to be seen
};

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
  /// confidence. `cancelled` is asked between lines, `progress` told; `unread` gets what is not in the text.
  std::shared_ptr<const Text> read(Sessions& sessions, const Image& image, const ReadingOptions& options,
                                   const std::function<bool()>& cancelled, const std::function<void(double)>& progress,
                                   Unread& unread) const;

  struct Reading {
    std::string text;
    float confidence = 0;  ///< mean of its characters
  };

 private:
  /// Reads one scaled line as it lies.
  Reading recognise(Sessions& sessions, const cv::Mat& line) const;
  /// Reads a lying line, whichever way up it is; turns `box` so that it begins at the top left of what was read.
  Reading read_line(Sessions& sessions, cv::Mat& line, Corners& box) const;
  /// Reads a place on the page: a line, or a column of characters that stand upright.
  Reading read_place(Sessions& sessions, const cv::Mat& bgr, Corners& box) const;

  std::shared_ptr<const openvino::OnnxModel> detect_, classify_, recognise_;
  std::vector<std::string> characters_;  ///< index 0 is CTC's blank
};

}  // namespace morph::image
