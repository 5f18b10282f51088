// Reading text in images with PP-OCR: a detector finds lines as quadrangles (DB, arXiv:1911.08947), an optional
// classifier says which are upside down, a recogniser (CTC) reads each. Follows the published ONNX files; the pre- and
// post-processing constants are PaddleOCR's.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "exec/delegates/openvino/delegate.h"
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

 private:
  std::shared_ptr<const openvino::OnnxModel> detect_, classify_, recognise_;
  std::vector<std::string> characters_;  ///< index 0 is CTC's blank
};

}  // namespace morph::image
