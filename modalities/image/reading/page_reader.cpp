// PP-OCR by the ONNX delegate. See page_reader.h.
#include "reading/page_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <sstream>

#include "morph/log.h"
#include "reading/page_layout.h"
#include "reading/word_gaps.h"

namespace morph::image {
namespace {

using openvino::OnnxTensor;
using openvino::OnnxTensors;
constexpr int kLineHeight = 48;  ///< recogniser and classifier input height
constexpr int kClassifyWidth = 192;
constexpr int kMaxLineWidth = 3200;  ///< widest line given to the recogniser at height 48

/// BGR 8-bit to planar F32 in -1..1, [1, 3, height, width].
OnnxTensor to_planes(const cv::Mat& bgr, int padded_width) {
  std::vector<float> planes(static_cast<std::size_t>(3 * bgr.rows * padded_width), 0.0f);
  const std::size_t plane = static_cast<std::size_t>(bgr.rows) * static_cast<std::size_t>(padded_width);
  for (int y = 0; y < bgr.rows; ++y) {
    const auto* row = bgr.ptr<cv::Vec3b>(y);
    float* out = planes.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(padded_width);
    for (int x = 0; x < bgr.cols; ++x)
      for (std::size_t c = 0; c < 3; ++c)
        out[c * plane + static_cast<std::size_t>(x)] = static_cast<float>(row[x][static_cast<int>(c)]) / 127.5f - 1.0f;
  }
  return OnnxTensor::f32({1, 3, bgr.rows, padded_width}, planes);
}

OnnxTensors run_single(openvino::OnnxSession& session, const openvino::OnnxModel& model, OnnxTensor input) {
  if (model.inputs().size() != 1 || model.outputs().empty())
    throw Error(ErrorCode::weights, model.file().string(),
                fmt::format("expected one input and an output, found {} and {}; is it a PP-OCR network?",
                            model.inputs().size(), model.outputs().size()));
  OnnxTensors inputs;
  inputs.emplace(model.inputs().front().name, std::move(input));
  return session.run(inputs);
}

/// Makes the corner first that is at the top left after `n_quarters` turns counter-clockwise.
void turn_corners(Corners& box, int n_quarters) { std::rotate(box.begin(), box.begin() + n_quarters, box.end()); }

/// The quadrangle as an upright picture.
cv::Mat cut_straight(const cv::Mat& bgr, const Corners& box) {
  const auto distance = [](cv::Point2f a, cv::Point2f b) {
    return static_cast<float>(std::hypot(a.x - b.x, a.y - b.y));
  };
  const int width = std::max(1, static_cast<int>(std::max(distance(box[0], box[1]), distance(box[3], box[2]))));
  const int height = std::max(1, static_cast<int>(std::max(distance(box[0], box[3]), distance(box[1], box[2]))));
  const std::array<cv::Point2f, 4> target = {cv::Point2f(0, 0), cv::Point2f(static_cast<float>(width), 0),
                                             cv::Point2f(static_cast<float>(width), static_cast<float>(height)),
                                             cv::Point2f(0, static_cast<float>(height))};
  cv::Mat line;
  cv::warpPerspective(bgr, line, cv::getPerspectiveTransform(box.data(), target.data()), {width, height},
                      cv::INTER_CUBIC, cv::BORDER_REPLICATE);
  return line;
}

/// The same as a lying picture; lines much taller than wide are turned by 90 degrees, `box` with them.
cv::Mat cut_out(const cv::Mat& bgr, Corners& box) {
  cv::Mat line = cut_straight(bgr, box);
  if (line.rows > line.cols * 3 / 2) {
    cv::rotate(line, line, cv::ROTATE_90_COUNTERCLOCKWISE);
    turn_corners(box, 1);
  }
  return line;
}

/// Scaled to the networks' height; at most `max_width` wide.
cv::Mat to_line_height(const cv::Mat& line, int max_width) {
  const double ratio = static_cast<double>(line.cols) / line.rows;
  const int width = std::clamp(static_cast<int>(std::ceil(kLineHeight * ratio)), 1, max_width);
  cv::Mat scaled;
  cv::resize(line, scaled, {width, kLineHeight}, 0, 0, cv::INTER_LINEAR);
  return scaled;
}

using Reading = PageReader::Reading;

/// Greedy CTC: best class per step, repeats merged, blanks dropped. `scores` is [1, n_steps, n_classes]; `step_width`
/// is what a step covers of `line`.
Reading decode_ctc(const OnnxTensor& scores, const std::vector<std::string>& characters, int padded_width,
                   const cv::Mat& line) {
  Reading reading;
  if (scores.shape.empty() || scores.shape.back() < 1) return reading;  // no steps, or no classes to choose from
  const auto n_classes = static_cast<std::size_t>(scores.shape.back());
  const auto values = scores.values<float>();
  const std::size_t n_steps = values.size() / n_classes;
  const float step_width = n_steps > 0 ? static_cast<float>(padded_width) / static_cast<float>(n_steps) : 0.0f;
  std::vector<PlacedCharacter> placed;
  std::size_t last = 0;
  float sum = 0;
  for (std::size_t step = 0; step < n_steps; ++step) {
    const auto row = values.subspan(step * n_classes, n_classes);
    const auto best = static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
    if (best != 0 && best != last && best < characters.size()) {
      placed.push_back({characters[best], (static_cast<float>(step) + 0.5f) * step_width});
      sum += row[best];
    }
    last = best;
  }
  if (placed.empty()) return reading;
  reading.text = with_word_gaps(placed, line);
  reading.confidence = sum / static_cast<float>(placed.size());
  return reading;
}

/// The characters of a column that stand upright below each other, laid side by side as a line; empty where the column
/// does not part into such.
cv::Mat column_as_line(const cv::Mat& column) {
  cv::Mat grey, ink, rows;
  cv::cvtColor(column, grey, cv::COLOR_BGR2GRAY);
  cv::threshold(grey, ink, 0, 255, cv::THRESH_BINARY_INV | cv::THRESH_OTSU);
  if (cv::countNonZero(ink) * 2 > ink.rows * ink.cols) cv::bitwise_not(ink, ink);
  cv::reduce(ink, rows, 1, cv::REDUCE_MAX);
  // Strokes of one character may stand apart: runs of ink are joined while they fit into a square.
  std::vector<cv::Range> cells;
  for (int y = 0; y < rows.rows; ++y) {
    if (rows.at<std::uint8_t>(y, 0) == 0) continue;
    int end = y + 1;
    while (end < rows.rows && rows.at<std::uint8_t>(end, 0) != 0) ++end;
    if (!cells.empty() && end - cells.back().start <= column.cols * 9 / 10)
      cells.back().end = end;
    else
      cells.emplace_back(y, end);
    y = end;
  }
  if (cells.size() < 2) return {};
  std::vector<cv::Mat> side_by_side;
  for (const cv::Range& cell : cells) {
    if (cell.size() > column.cols * 3 / 2) return {};  // it does not part here: no upright characters
    const int middle = (cell.start + cell.end) / 2, half = column.cols / 2;
    const int top = std::max(0, middle - half), bottom = std::min(column.rows, middle + half);
    cv::Mat square;
    cv::copyMakeBorder(column.rowRange(top, bottom), square, 0, column.cols - (bottom - top), 0, 0,
                       cv::BORDER_REPLICATE);
    side_by_side.push_back(square);
  }
  cv::Mat line;
  cv::hconcat(side_by_side, line);
  return line;
}

/// The recogniser's alphabet: blank, the listed characters, space.
std::vector<std::string> alphabet(const openvino::OnnxModel& recognise) {
  const auto found = recognise.metadata().find("character");
  if (found == recognise.metadata().end())
    throw Error(ErrorCode::weights, recognise.file().string(),
                "expected the character list in the metadata key \"character\", found none");
  std::vector<std::string> characters = {""};
  std::istringstream lines(found->second);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    characters.push_back(line);
  }
  characters.emplace_back(" ");
  const std::int64_t n_classes = recognise.outputs().empty() || recognise.outputs().front().shape.empty()
                                     ? -1
                                     : recognise.outputs().front().shape.back();
  if (n_classes > 0 && static_cast<std::size_t>(n_classes) != characters.size()) {
    // Some exports list the space themselves.
    characters.pop_back();
    if (static_cast<std::size_t>(n_classes) != characters.size())
      throw Error(
          ErrorCode::weights, recognise.file().string(),
          fmt::format("expected {} classes for the listed characters, found {}", characters.size() + 1, n_classes));
  }
  return characters;
}

std::filesystem::path network(const std::filesystem::path& folder, const char* name) {
  const std::filesystem::path file = folder / name;
  if (!std::filesystem::exists(file))
    throw Error(ErrorCode::weights, file.string(),
                "the network is missing; a PP-OCR folder holds det.onnx and rec.onnx");
  return file;
}

}  // namespace

PageReader::PageReader(ModelStore& store, const std::filesystem::path& folder, const openvino::OnnxOptions& options)
    : detect_(openvino::OnnxModel::load(store, network(folder, "det.onnx"), options)),
      recognise_(openvino::OnnxModel::load(store, network(folder, "rec.onnx"), options)),
      characters_(alphabet(*recognise_)) {
  if (std::filesystem::exists(folder / "cls.onnx"))
    classify_ = openvino::OnnxModel::load(store, folder / "cls.onnx", options);
}

PageReader::Sessions PageReader::create_sessions() const {
  return {detect_->create_session(), classify_ ? classify_->create_session() : nullptr, recognise_->create_session()};
}

PageReader::Reading PageReader::recognise(Sessions& sessions, const cv::Mat& line) const {
  const cv::Mat scaled = to_line_height(line, kMaxLineWidth);
  const int padded = std::max(320, (scaled.cols + 31) / 32 * 32);  // few distinct widths keep compiled shapes few
  const OnnxTensors scores = run_single(*sessions.recognise, *recognise_, to_planes(scaled, padded));
  return decode_ctc(scores.begin()->second, characters_, padded, scaled);
}

PageReader::Reading PageReader::read_line(Sessions& sessions, cv::Mat& line, Corners& box) const {
  if (classify_) {
    cv::Mat small;
    cv::resize(line, small, {std::min(kClassifyWidth, std::max(1, line.cols * kLineHeight / line.rows)), kLineHeight});
    const OnnxTensors turned = run_single(*sessions.classify, *classify_, to_planes(small, kClassifyWidth));
    const auto scores = turned.begin()->second.values<float>();
    if (scores.size() >= 2 && scores[1] > 0.9f) {
      cv::rotate(line, line, cv::ROTATE_180);
      turn_corners(box, 2);
    }
  }
  Reading reading = recognise(sessions, line);
  // The classifier errs, or is not there: what reads badly is read the other way up as well. Lines of print that stand
  // on their heads read at 0.4 to 0.8, upright ones above 0.9.
  constexpr float kReadsWell = 0.9f;
  if (reading.confidence >= kReadsWell) return reading;
  cv::Mat other;
  cv::rotate(line, other, cv::ROTATE_180);
  Reading turned = recognise(sessions, other);
  if (turned.text.empty() || turned.confidence <= reading.confidence) return reading;
  turn_corners(box, 2);
  return turned;
}

PageReader::Reading PageReader::read_place(Sessions& sessions, const cv::Mat& bgr, Corners& box) const {
  constexpr float kReadsWell = 0.9f;
  Corners lying = box;
  cv::Mat line = cut_out(bgr, lying);
  Reading reading = read_line(sessions, line, lying);
  // The recogniser knows characters that lie on their side as well, but not in which direction a column of them goes.
  const bool stacked = is_east_asian(reading.text);
  if (lying[0] != box[0] && (stacked || reading.confidence < kReadsWell)) {
    const cv::Mat upright = column_as_line(cut_straight(bgr, box));
    if (!upright.empty()) {
      Reading column = recognise(sessions, upright);
      if (column.confidence > reading.confidence - (stacked ? 0.15f : 0.0f)) return column;
    }
  }
  box = lying;
  return reading;
}

std::shared_ptr<const Text> PageReader::read(Sessions& sessions, const Image& image, const ReadingOptions& options,
                                             const std::function<bool()>& cancelled,
                                             const std::function<void(double)>& progress, Unread& unread) const {
  if (image.channels != 3 || image.width < 1 || image.height < 1)
    throw Error(ErrorCode::internal, "image/read_text", "expected RGB pixels");
  const cv::Mat rgb(image.height, image.width, CV_8UC3, const_cast<std::uint8_t*>(image.pixels.data()));
  cv::Mat bgr;
  cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
  const Detection found = detect_text(bgr, options.detection, [&](const cv::Mat& tile) {
    if (cancelled()) return cv::Mat(cv::Mat::zeros(tile.size(), CV_32FC1));
    const OnnxTensors detected = run_single(*sessions.detect, *detect_, to_planes(tile, tile.cols));
    const OnnxTensor& map = detected.begin()->second;
    if (map.count() != static_cast<std::size_t>(tile.rows) * static_cast<std::size_t>(tile.cols))
      throw Error(ErrorCode::weights, detect_->file().string(), "expected a probability map of the input's size");
    return cv::Mat(tile.rows, tile.cols, CV_32FC1, const_cast<float*>(map.values<float>().data())).clone();
  });
  unread.too_small = found.too_small;
  unread.n_left_out = found.n_left_out;

  auto text = std::make_shared<Text>();
  for (std::size_t i = 0; i < found.boxes.size(); ++i) {
    if (cancelled()) break;
    Corners box = found.boxes[i];
    const Reading reading = read_place(sessions, bgr, box);
    if (!reading.text.empty() && reading.confidence >= options.text_threshold) {
      TextSpan span;
      span.text = reading.text;
      span.confidence = reading.confidence;
      span.page = image.page;
      span.box.emplace();
      for (std::size_t corner = 0; corner < 4; ++corner) {
        (*span.box)[2 * corner] = box[corner].x;
        (*span.box)[2 * corner + 1] = box[corner].y;
      }
      text->spans.push_back(std::move(span));
    } else if (!reading.text.empty()) {
      ++unread.n_unclear;
    }
    progress(static_cast<double>(i + 1) / static_cast<double>(found.boxes.size()));
  }
  const std::vector<int> lines = sort_into_lines(text->spans);
  text->utf8 = join_lines(text->spans, lines);
  return text;
}

}  // namespace morph::image
