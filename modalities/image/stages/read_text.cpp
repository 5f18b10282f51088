// image/read_text: the text in an image (OCR), with boxes.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "morph/image.h"
#include "morph/log.h"
#include "morph/registry.h"
#include "reading/page_reader.h"

namespace morph::image {
namespace {

struct ReadTextState final : StageState {  // a page is one step: between two there is nothing to save
  PageReader::Sessions sessions;
};

class ReadText final : public SimpleStage<ReadTextState> {
 public:
  ReadText(std::shared_ptr<const PageReader> reader, ReadingOptions options)
      : reader_(std::move(reader)), options_(options) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override {
    auto state = std::make_unique<ReadTextState>();
    state->sessions = reader_->create_sessions();
    return state;
  }

  StepStatus step_one(ReadTextState& state, StageIo& io) const override {
    if (io.available(1) > 0) io.take(1);  // the question: whatever it is, the answer is what the page says
    if (io.available(0) == 0) return io.ended(0) ? StepStatus::done : StepStatus::need_input;
    if (io.space(0) == 0) return StepStatus::output_full;
    const Packet packet = io.take(0);
    const Image& image = packet.as<Image>();
    Unread unread;
    const auto text = reader_->read(
        state.sessions, image, options_, [&] { return io.cancelled(); },
        [&](double fraction) { io.progress(fraction, "reading"); }, unread);
    io.metric("pieces", static_cast<double>(text->spans.size()));
    if (!io.cancelled()) tell(unread, image, io);
    io.push(0, Packet::data<Text>(text, packet.time));
    return StepStatus::ready;
  }

 private:
  /// Nothing that was seen is left out without a word.
  static void tell(const Unread& unread, const Image& image, StageIo& io) {
    const std::string page = image.page > 0 ? fmt::format("page {}: ", image.page) : "";
    const auto say = [&](const char* metric, std::size_t n, const std::string& what) {
      if (n == 0) return;
      io.metric(metric, static_cast<double>(n));
      log(LogLevel::warning, "image/read_text", page + what);
    };
    say("unclear", unread.n_unclear,
        fmt::format(
            "{} places look like text but are too unclear to be read; min_confidence=0 shows what they look like",
            unread.n_unclear));
    say("left_out", unread.n_left_out,
        fmt::format("{} places with text are left out: there are too many; give it in parts", unread.n_left_out));
    say("too_small", unread.too_small ? 1 : 0,
        "some of the print is too small to be read; scan it at a higher resolution");
  }

  std::shared_ptr<const PageReader> reader_;
  ReadingOptions options_;
};

Estimate estimate(const ResolveContext& context) {
  const auto folder = context.find_model(context.params.get_string("model"));
  Estimate sum;
  for (const char* const name : {"det.onnx", "rec.onnx", "cls.onnx"}) {
    const std::filesystem::path file = folder / name;
    if (!std::filesystem::exists(file) && std::string_view(name) == "cls.onnx") continue;  // the only optional one
    const Estimate one = openvino::estimate_onnx(file);
    sum.weights += one.weights;
    sum.load_peak = std::max(sum.load_peak, one.load_peak);
    sum.runtime = one.runtime;
    sum.runtime_key = one.runtime_key;
  }
  sum.session = 1u << 20;
  sum.weights_key = fmt::format("pp-ocr|{}|{}|{}", folder.string(), context.device, context.n_threads);
  // The detector's activations, F32 planes of the tile in which it sees the picture. Measured from 320 x 240 to
  // 4000 x 3000 pixels: 37 planes with pp-ocr-v4, 44 with pp-ocr-v6-tiny, recognising lines included. A picture that is
  // first looked at from further away may be looked at closely as well.
  constexpr std::uint64_t kPlanes = 44;
  const int max_side = static_cast<int>(context.params.get_int("max_side"));
  int width = 1654, height = 2339;  // of a picture that is not known yet: A4 at 200 dpi
  if (context.source_extents.size() == 2) {
    width = static_cast<int>(context.source_extents[0]);
    height = static_cast<int>(context.source_extents[1]);
  }
  const DetectionGrid first = detection_grid(width, height, max_side);
  const DetectionGrid closer = detection_grid(width, height, max_side, std::max(1.0, first.scale));
  const auto area = [](int across, int down) {
    return static_cast<std::uint64_t>(across) * static_cast<std::uint64_t>(down);
  };
  sum.scratch =
      4 * kPlanes * std::max(area(first.tile_width, first.tile_height), area(closer.tile_width, closer.tile_height));
  sum.scratch += 12 * std::max(area(first.width, first.height), area(closer.width, closer.height));  // pixels, maps
  sum.scratch += context.source_bytes / 2;  // BGR pixels, while the detector's are not there in full
  sum.longest_step_ms = 3000;
  return sum;
}

}  // namespace

void register_read_text(Registry& registry) {
  StageSpec spec;
  spec.name = "image/read_text";
  spec.help = "Reads the text in an image (PP-OCR): lines in reading order, with boxes and confidences.";
  spec.inputs = {{"image",
                  {FormatPattern{"image/pixels", {{"channels", Constraint::is(std::int64_t{3})}}}},
                  "the page or photograph",
                  false},
                 {"question",
                  {FormatPattern{"text/plain", {}}},
                  "accepted and set aside: the answer is always everything the image says",
                  true}};
  spec.outputs = {{"text", {FormatPattern{"text/plain", {}}}, "the text; spans hold boxes and confidences", false}};
  spec.params = {{.name = "model",
                  .type = ParamType::string,
                  .default_value = std::string("pp-ocr-v4"),
                  .help = "PP-OCR checkpoint"},
                 {.name = "max_side",
                  .type = ParamType::integer,
                  .default_value = std::int64_t{1536},
                  .help = "longest side in pixels of the tiles in which a page is looked at; larger ones cost memory",
                  .min = 320,
                  .max = 8192},
                 {.name = "min_confidence",
                  .type = ParamType::number,
                  .default_value = 0.5,
                  .help = "readings below this are left out",
                  .min = 0,
                  .max = 1}};
  spec.load = StageLoad::heavy;
  spec.devices = {"cpu", "gpu", "npu"};
  spec.checkpointable = true;
  spec.estimate = estimate;
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    openvino::OnnxOptions options;
    options.device = context.device;
    options.n_threads = context.n_threads;
    context.progress(0.0, "PP-OCR");
    auto reader = std::make_shared<const PageReader>(context.models,
                                                     context.find_model(context.params.get_string("model")), options);
    ReadingOptions reading;
    reading.detection.max_side = static_cast<int>(context.params.get_int("max_side"));
    reading.text_threshold = static_cast<float>(context.params.get_double("min_confidence"));
    return std::make_shared<const ReadText>(std::move(reader), reading);
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::image
