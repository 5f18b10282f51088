// PP-OCR by the ONNX delegate. See page_reader.h.
#include "reading/page_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <sstream>

#include "morph/log.h"
#include "reading/page_layout.h"

namespace morph::image {
namespace {

using openvino::OnnxTensor;
using openvino::OnnxTensors;
using Corners = std::array<cv::Point2f, 4>;

constexpr int kLineHeight = 48;  ///< recogniser and classifier input height
constexpr int kClassifyWidth = 192;
constexpr int kMaxLineWidth = 3200;  ///< widest line given to the recogniser at height 48
constexpr int kMaxBoxes = 1000;
constexpr float kMinSide = 3.0f;  ///< detected kernels thinner than this are specks

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

/// Corners clockwise from the top left, for boxes turned by less than 45 degrees.
std::array<cv::Point2f, 4> in_order(const cv::RotatedRect& rect) {
  std::array<cv::Point2f, 4> p;
  rect.points(p.data());
  std::sort(p.begin(), p.end(), [](const cv::Point2f& a, const cv::Point2f& b) { return a.x < b.x; });
  if (p[0].y > p[1].y) std::swap(p[0], p[1]);  // the two left ones: top first
  if (p[2].y > p[3].y) std::swap(p[2], p[3]);
  return {p[0], p[2], p[3], p[1]};
}

/// Mean probability inside a contour's rectangle.
float mean_inside(const cv::Mat& probability, const std::array<cv::Point2f, 4>& corners) {
  float left = 1e9f, top = 1e9f, right = -1e9f, bottom = -1e9f;
  for (const cv::Point2f& p : corners) {
    left = std::min(left, p.x);
    right = std::max(right, p.x);
    top = std::min(top, p.y);
    bottom = std::max(bottom, p.y);
  }
  const int x0 = std::clamp(static_cast<int>(std::floor(left)), 0, probability.cols - 1);
  const int x1 = std::clamp(static_cast<int>(std::ceil(right)), x0, probability.cols - 1);
  const int y0 = std::clamp(static_cast<int>(std::floor(top)), 0, probability.rows - 1);
  const int y1 = std::clamp(static_cast<int>(std::ceil(bottom)), y0, probability.rows - 1);
  cv::Mat mask = cv::Mat::zeros(y1 - y0 + 1, x1 - x0 + 1, CV_8UC1);
  std::vector<cv::Point> polygon;
  for (const cv::Point2f& p : corners)
    polygon.emplace_back(static_cast<int>(std::lround(p.x)) - x0, static_cast<int>(std::lround(p.y)) - y0);
  cv::fillPoly(mask, std::vector<std::vector<cv::Point>>{polygon}, cv::Scalar(1));
  return static_cast<float>(cv::mean(probability(cv::Rect(x0, y0, x1 - x0 + 1, y1 - y0 + 1)), mask)[0]);
}

/// Boxes of text in the image's pixels, from the detector's probability map.
std::vector<std::array<cv::Point2f, 4>> boxes_of(const cv::Mat& probability, float scale_x, float scale_y,
                                                 const ReadingOptions& options) {
  cv::Mat binary = probability > options.detect_threshold;
  cv::dilate(binary, binary, cv::getStructuringElement(cv::MORPH_RECT, {2, 2}));
  std::vector<std::vector<cv::Point>> contours;
  cv::findContours(binary, contours, cv::RETR_LIST, cv::CHAIN_APPROX_SIMPLE);
  std::vector<std::array<cv::Point2f, 4>> boxes;
  for (const auto& contour : contours) {
    if (boxes.size() >= kMaxBoxes) {
      log(LogLevel::warning, "image/read_text",
          fmt::format("more than {} places with text; the others are left out", kMaxBoxes));
      break;
    }
    cv::RotatedRect rect = cv::minAreaRect(contour);
    if (std::min(rect.size.width, rect.size.height) < kMinSide) continue;
    if (mean_inside(probability, in_order(rect)) < options.box_threshold) continue;
    // Grow by area * ratio / perimeter on every side, as the detector was trained with shrunk kernels.
    const float area = rect.size.area();
    const float grow = area * options.unclip_ratio / (2 * (rect.size.width + rect.size.height));
    rect.size.width += 2 * grow;
    rect.size.height += 2 * grow;
    if (std::min(rect.size.width, rect.size.height) < kMinSide + 2) continue;
    std::array<cv::Point2f, 4> corners = in_order(rect);
    for (cv::Point2f& p : corners) {
      p.x *= scale_x;
      p.y *= scale_y;
    }
    boxes.push_back(corners);
  }
  return boxes;
}

/// Makes the corner first that is at the top left after `n_quarters` turns counter-clockwise.
void turn_corners(Corners& box, int n_quarters) { std::rotate(box.begin(), box.begin() + n_quarters, box.end()); }

/// The quadrangle as a lying picture; lines much taller than wide are turned by 90 degrees, `box` with them.
cv::Mat cut_out(const cv::Mat& bgr, Corners& box) {
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
  if (height > width * 3 / 2) {
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

/// Greedy CTC: best class per step, repeats merged, blanks dropped. `scores` is [1, n_steps, n_classes].
Reading decode_ctc(const OnnxTensor& scores, const std::vector<std::string>& characters) {
  Reading reading;
  if (scores.shape.empty() || scores.shape.back() < 1) return reading;  // no steps, or no classes to choose from
  const auto n_classes = static_cast<std::size_t>(scores.shape.back());
  const auto values = scores.values<float>();
  const std::size_t n_steps = values.size() / n_classes;
  std::size_t last = 0;
  float sum = 0;
  int count = 0;
  for (std::size_t step = 0; step < n_steps; ++step) {
    const auto row = values.subspan(step * n_classes, n_classes);
    const auto best = static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
    if (best != 0 && best != last && best < characters.size()) {
      reading.text += characters[best];
      sum += row[best];
      ++count;
    }
    last = best;
  }
  reading.confidence = count > 0 ? sum / static_cast<float>(count) : 0.0f;
  return reading;
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

DetectorSize detector_size(int width, int height, int max_side) {
  // Thin strokes do not survive at the size of a small picture.
  const int longest = std::max(width, height);
  const int shortest = std::min(width, height);
  double scale = shortest < 736 ? 736.0 / shortest : 1.0;
  scale = std::min(scale, static_cast<double>(max_side) / longest);
  const auto side = [&](int pixels) { return std::max(32, static_cast<int>(std::lround(pixels * scale / 32.0)) * 32); };
  return {side(width), side(height)};
}

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
  const auto recognise = [&](const cv::Mat& picture) {
    const cv::Mat scaled = to_line_height(picture, kMaxLineWidth);
    const int padded = std::max(320, (scaled.cols + 31) / 32 * 32);  // few distinct widths keep compiled shapes few
    const OnnxTensors scores = run_single(*sessions.recognise, *recognise_, to_planes(scaled, padded));
    return decode_ctc(scores.begin()->second, characters_);
  };
  Reading reading = recognise(line);
  // The classifier errs, or is not there: what reads badly is read the other way up as well. Lines of print that stand
  // on their heads read at 0.4 to 0.8, upright ones above 0.9.
  constexpr float kReadsWell = 0.9f;
  if (reading.confidence >= kReadsWell) return reading;
  cv::Mat other;
  cv::rotate(line, other, cv::ROTATE_180);
  Reading turned = recognise(other);
  if (turned.text.empty() || turned.confidence <= reading.confidence) return reading;
  turn_corners(box, 2);
  return turned;
}

std::shared_ptr<const Text> PageReader::read(Sessions& sessions, const Image& image, const ReadingOptions& options,
                                             const std::function<bool()>& cancelled,
                                             const std::function<void(double)>& progress) const {
  if (image.channels != 3 || image.width < 1 || image.height < 1)
    throw Error(ErrorCode::internal, "image/read_text", "expected RGB pixels");
  const cv::Mat rgb(image.height, image.width, CV_8UC3, const_cast<std::uint8_t*>(image.pixels.data()));
  cv::Mat bgr;
  cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
  const DetectorSize seen = detector_size(bgr.cols, bgr.rows, options.max_side);
  const cv::Size size(seen.width, seen.height);
  cv::Mat resized;
  cv::resize(bgr, resized, size);
  const OnnxTensors detected = run_single(*sessions.detect, *detect_, to_planes(resized, resized.cols));
  const OnnxTensor& map = detected.begin()->second;
  if (map.count() != static_cast<std::size_t>(size.area()))
    throw Error(ErrorCode::weights, detect_->file().string(), "expected a probability map of the input's size");
  const cv::Mat probability(size.height, size.width, CV_32FC1, const_cast<float*>(map.values<float>().data()));
  const auto boxes = boxes_of(probability, static_cast<float>(bgr.cols) / static_cast<float>(size.width),
                              static_cast<float>(bgr.rows) / static_cast<float>(size.height), options);

  auto text = std::make_shared<Text>();
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    if (cancelled()) break;
    auto box = boxes[i];
    cv::Mat line = cut_out(bgr, box);
    const Reading reading = read_line(sessions, line, box);
    if (!reading.text.empty() && reading.confidence >= options.text_threshold) {
      TextSpan span;
      span.text = reading.text;
      span.confidence = reading.confidence;
      span.box.emplace();
      for (std::size_t corner = 0; corner < 4; ++corner) {
        (*span.box)[2 * corner] = box[corner].x;
        (*span.box)[2 * corner + 1] = box[corner].y;
      }
      text->spans.push_back(std::move(span));
    }
    progress(static_cast<double>(i + 1) / static_cast<double>(boxes.size()));
  }
  const std::vector<int> lines = sort_into_lines(text->spans);
  text->utf8 = join_lines(text->spans, lines);
  return text;
}

}  // namespace morph::image
