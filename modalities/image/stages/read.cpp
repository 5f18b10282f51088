// image/read: an image file as packets of RGB pixels, one for each page or frame. A JPEG that is cut short is delivered
// as far as it goes, and named: a warning, or an error where the parameter on_truncated says so.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "exec/wire.h"
#include "io/image_file.h"
#include "io/image_size.h"
#include "morph/error.h"
#include "morph/log.h"
#include "morph/registry.h"

namespace morph::image {
namespace {

struct ReadState final : StageState {
  explicit ReadState(bool live) : from_stdin(live) {}
  const bool from_stdin;
  std::unique_ptr<ImageFile> file;
  std::uint64_t n_read = 0;           ///< pages
  std::uint64_t n_to_skip = 0;        ///< that a run which this one goes on from has read already
  std::shared_ptr<const Image> last;  ///< of an animation: a frame that repeats it says nothing new

  std::vector<std::byte> save() const override {
    if (from_stdin)
      throw Error(ErrorCode::pipeline, "image/read",
                  "standard input cannot be read again, so a run that reads it cannot be saved; give it a file");
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    writer.u64(n_read + n_to_skip);
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "image/read");
    n_to_skip = reader.u64();
    reader.expect_end();
  }
};

class Read final : public SimpleStage<ReadState> {
 public:
  Read(std::string path, bool strict) : path_(std::move(path)), strict_(strict) {}
  std::unique_ptr<StageState> open(const OpenContext&) const override {
    return std::make_unique<ReadState>(path_ == "-");
  }
  StepStatus step_one(ReadState& state, StageIo& io) const override {
    if (io.space(0) == 0) return StepStatus::output_full;
    if (!state.file) open_file(state, io);
    const std::shared_ptr<const Image> image = state.file->next();
    if (!image) return StepStatus::done;
    ++state.n_read;
    if (image->n_pages > 1) io.progress(static_cast<double>(image->page) / image->n_pages, "pages");
    const bool repeats = state.last && state.last->width == image->width && state.last->height == image->height &&
                         state.last->pixels == image->pixels;
    state.last = image->page > 0 ? image : nullptr;
    const bool sent_before = state.n_to_skip > 0;
    if (sent_before) --state.n_to_skip;
    if (!repeats && !sent_before) io.push(0, Packet::data<Image>(image));
    return image->page == 0 ? StepStatus::done : StepStatus::ready;
  }

 private:
  void open_file(ReadState& state, StageIo& io) const {
    const std::string name = path_ == "-" ? "standard input" : path_;
    state.file = std::make_unique<ImageFile>(read_bytes(path_), name);
    if (!ends_early(state.file->bytes())) return;
    if (strict_) throw Error(ErrorCode::format, name, "truncated: expected a whole JPEG image, found no end of it");
    io.metric("truncated", 1);
    log(LogLevel::warning, "image/read",
        fmt::format("{}: truncated: the JPEG has no end; what it holds is used", name));
  }

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
  spec.help =
      "Reads an image file (PNG, JPEG, WebP, GIF, TIFF, HEIC, AVIF, JPEG XL, PDF and more) as RGB pixels, page by "
      "page.";
  spec.outputs = {{"image",
                   {FormatPattern{"image/pixels", {{"channels", Constraint::is(std::int64_t{3})}}}},
                   "the image, upright; a file's pages and frames one after the other",
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
  spec.checkpointable = true;
  spec.suffixes = {".png",  ".jpg",  ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pgm", ".ppm",
                   ".heic", ".heif", ".avif", ".jxl",  ".jp2", ".exr", ".hdr", ".psd",  ".pdf"};
  spec.measure = measure;
  spec.estimate = [](const ResolveContext& context) {
    Estimate estimate;
    estimate.runtime = 144u << 20;  // the codecs with what they link, measured
    estimate.runtime_key = "image-codecs";
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
