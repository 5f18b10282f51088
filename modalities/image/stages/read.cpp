// image/read: an image file as one packet of RGB pixels. A JPEG that is cut short is delivered as far as it goes, and
// named: a warning, or an error where the parameter on_truncated says so.
#include <fmt/format.h>

#include "io/image_file.h"
#include "morph/error.h"
#include "morph/log.h"
#include "morph/registry.h"

namespace morph::image {
namespace {

struct ReadState final : StageState {
  bool sent = false;
};

class Read final : public SimpleStage<ReadState> {
 public:
  Read(std::string path, bool strict) : path_(std::move(path)), strict_(strict) {}
  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<ReadState>(); }
  StepStatus step_one(ReadState& state, StageIo& io) const override {
    if (state.sent) return StepStatus::done;
    if (io.space(0) == 0) return StepStatus::output_full;
    state.sent = true;
    const std::string name = path_ == "-" ? "standard input" : path_;
    const std::vector<std::byte> bytes = read_bytes(path_);
    auto image = decode_file(bytes, name);
    if (ends_early(bytes)) {
      if (strict_) throw Error(ErrorCode::format, name, "truncated: expected a whole JPEG image, found no end of it");
      io.metric("truncated", 1);
      log(LogLevel::warning, "image/read",
          fmt::format("{}: truncated: the JPEG has no end; what it holds is used", name));
    }
    io.push(0, Packet::data<Image>(std::move(image)));
    return StepStatus::done;
  }

 private:
  std::string path_;
  bool strict_;
};

}  // namespace

void register_read(Registry& registry) {
  StageSpec spec;
  spec.name = "image/read";
  spec.help = "Reads an image file (PNG, JPEG, WebP, BMP, TIFF, PNM) as RGB pixels.";
  spec.outputs = {{"image",
                   {FormatPattern{"image/pixels", {{"channels", Constraint::is(std::int64_t{3})}}}},
                   "the image, upright",
                   false}};
  spec.params = {{.name = "path",
                  .type = ParamType::path,
                  .default_value = {},
                  .help = "file to read; - is standard input",
                  .required = true},
                 {.name = "on_truncated",
                  .type = ParamType::string,
                  .default_value = std::string("warn"),
                  .help = "what to do with a JPEG that is cut short",
                  .choices = {"warn", "error"}}};
  spec.load = StageLoad::blocking;
  spec.source_of = "image";
  spec.suffixes = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm"};
  spec.estimate = [](const ResolveContext&) {
    Estimate estimate;
    estimate.runtime = 90u << 20;  // OpenCV's codecs with what they link, measured
    estimate.runtime_key = "opencv-codecs";
    estimate.packet_bytes = 512u << 10;  // one packet in all: a page of 4 MiB, spread over the eight places of a queue
    return estimate;
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    return std::make_shared<const Read>(context.params.get_string("path"),
                                        context.params.get_string("on_truncated") == "error");
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::image
