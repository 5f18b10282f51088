// image/read_text: the text in an image (OCR), with boxes.
#include "morph/image.h"
#include "morph/registry.h"
#include "reading/page_reader.h"

namespace morph::image {
namespace {

struct ReadTextState final : StageState {
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
    const auto text = reader_->read(
        state.sessions, packet.as<Image>(), options_, [&] { return io.cancelled(); },
        [&](double fraction) { io.progress(fraction, "reading"); });
    io.metric("pieces", static_cast<double>(text->spans.size()));
    io.push(0, Packet::data<Text>(text, packet.time));
    return StepStatus::ready;
  }

 private:
  std::shared_ptr<const PageReader> reader_;
  ReadingOptions options_;
};

Estimate estimate(const ResolveContext& context) {
  const auto folder = context.find_model(context.params.get_string("model"));
  const Estimate detect = openvino::estimate_onnx(folder / "det.onnx");
  const Estimate recognise = openvino::estimate_onnx(folder / "rec.onnx");
  Estimate sum = detect;
  sum.weights += recognise.weights;
  sum.weights_key = "pp-ocr " + folder.string();
  sum.load_peak = std::max(detect.load_peak, recognise.load_peak);
  // The detector's activations: about 31 F32 planes of an input of three quarters of a square (measured: 25 on lines of
  // print, 37 on a whole page).
  const auto side = static_cast<std::uint64_t>(context.params.get_int("max_side"));
  sum.scratch = side * side * 3 / 4 * 4 * 31;
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
                  .help = "longest side in pixels given to the detector; more finds smaller print and costs time",
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
  spec.estimate = estimate;
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    openvino::OnnxOptions options;
    options.device = context.device;
    options.n_threads = context.n_threads;
    context.progress(0.0, "PP-OCR");
    auto reader = std::make_shared<const PageReader>(context.models,
                                                     context.find_model(context.params.get_string("model")), options);
    ReadingOptions reading;
    reading.max_side = static_cast<int>(context.params.get_int("max_side"));
    reading.text_threshold = static_cast<float>(context.params.get_double("min_confidence"));
    return std::make_shared<const ReadText>(std::move(reader), reading);
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::image
