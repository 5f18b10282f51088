// image/read: an image file as one packet of RGB pixels. A JPEG that is cut short is delivered as far as it goes, and
// named: a warning, or an error where the parameter on_truncated says so.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "io/image_file.h"
#include "io/image_size.h"
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

/// RGB bytes of the picture, its width and its height, by its header.
SourceSize measure(const Params& params) {
  const std::string& path = params.get_string("path");
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed)) return {};  // a pipe is read once, by the run
  std::ifstream file(path, std::ios::binary);
  const std::optional<ImageSize> size = file ? read_image_size(file) : std::nullopt;
  if (!size) return {};
  return {size->width * size->height * 3, {size->width, size->height}};
}

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
  spec.measure = measure;
  spec.estimate = [](const ResolveContext& context) {
    Estimate estimate;
    estimate.runtime = 80u << 20;  // OpenCV's codecs with what they link, measured
    estimate.runtime_key = "opencv-codecs";
    // One packet in all, so it is counted here and not in every place of a queue.
    estimate.scratch = context.source_bytes > 0 ? context.source_bytes : 4u << 20;
    return estimate;
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    return std::make_shared<const Read>(context.params.get_string("path"),
                                        context.params.get_string("on_truncated") == "error");
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::image
