// audio/write: a file (written beside its place and renamed when whole, so that nothing half-written is left by an
// error or a cancel), or standard output as it comes.
#include <fmt/format.h>

#include "io/audio_sink.h"
#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"

namespace morph::audio {
namespace {

struct WriteState final : StageState {
  std::unique_ptr<AudioSink> sink;
  std::uint64_t n_frames = 0;
};

class Write final : public SimpleStage<WriteState> {
 public:
  Write(std::string path, SinkOptions options) : path_(std::move(path)), options_(std::move(options)) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<WriteState>(); }

  StepStatus step_one(WriteState& state, StageIo& io) const override {
    if (!state.sink) state.sink = open_sink(path_, options_);
    if (io.available(0) > 0) {
      const Packet packet = io.take(0);
      const AudioChunk& chunk = packet.as<AudioChunk>();
      if (chunk.rate_hz != options_.rate_hz || chunk.channels != options_.channels)
        throw Error(ErrorCode::internal, "audio/write",
                    fmt::format("expected {} Hz and {} channels as negotiated, found {} Hz and {}", options_.rate_hz,
                                options_.channels, chunk.rate_hz, chunk.channels));
      state.sink->write(chunk.samples);
      state.n_frames += chunk.n_frames();
      return StepStatus::ready;
    }
    if (!io.ended(0)) return StepStatus::need_input;
    state.sink->finish();
    io.metric("audio_seconds", static_cast<double>(state.n_frames) / options_.rate_hz);
    return StepStatus::done;
  }

 private:
  std::string path_;
  SinkOptions options_;
};

std::vector<ParamSpec> write_params() {
  return {{.name = "path",
           .type = ParamType::path,
           .default_value = std::string("-"),
           .help = "file; - is standard output"},
          {.name = "bits",
           .type = ParamType::integer,
           .default_value = std::int64_t{16},
           .help = "per sample in wav, flac and on standard output: 16, 24, or 32 (float)",
           .min = 16,
           .max = 32},
          {.name = "bitrate_kbps",
           .type = ParamType::integer,
           .default_value = std::int64_t{0},
           .help = "of compressed files; 0: the format's own choice",
           .min = 0,
           .max = 1000},
          {.name = "encoding",
           .type = ParamType::string,
           .default_value = std::string("auto"),
           .help = "auto: by suffix, a WAV stream on standard output; raw: samples without a header",
           .choices = {"auto", "raw"}},
          {.name = "provenance",
           .type = ParamType::string,
           .default_value = {},
           .help = "text kept in the file's comment"}};
}

}  // namespace

void register_write(Registry& registry) {
  StageSpec spec;
  spec.name = "audio/write";
  spec.help = "Writes audio to a file or to standard output.";
  spec.inputs = {{"audio", {{"audio/pcm", {}}, {"audio/speech", {}}}, "what is written, in its own rate and channels"}};
  spec.params = write_params();
  spec.load = StageLoad::blocking;
  spec.sink_of = "audio";
  spec.suffixes = {".wav", ".flac", ".mp3", ".opus", ".ogg", ".oga", ".m4a", ".raw", ".pcm"};
  spec.validate = [](const Params& params, std::vector<Diagnostic>& found) {
    const std::int64_t bits = params.get_int("bits");
    if (bits != 16 && bits != 24 && bits != 32)
      found.push_back({Diagnostic::Severity::error, ErrorCode::config, "bits",
                       fmt::format("expected 16, 24 or 32, found {}", bits)});
  };
  spec.estimate = [](const ResolveContext&) {
    Estimate estimate;
    estimate.session = 4u << 20;
    return estimate;
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const Params& params = context.params;
    SinkOptions options;
    options.rate_hz = static_cast<int>(context.inputs[0]->get_int("rate"));
    options.channels = static_cast<int>(context.inputs[0]->get_int("channels"));
    options.bits = static_cast<int>(params.get_int("bits"));
    options.bitrate_kbps = static_cast<int>(params.get_int("bitrate_kbps"));
    options.raw = params.get_string("encoding") == "raw";
    if (params.has("provenance")) options.provenance = params.get_string("provenance");
    return std::make_shared<const Write>(params.get_string("path"), options);
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
