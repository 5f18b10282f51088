// audio/write: a file (written beside its place and renamed when whole, so that nothing half-written is left by an
// error or a cancel), or standard output as it comes.
//
// In a run that is saved the samples go to segments of ten seconds and the file is encoded from them at the end: an
// encoder's state cannot be saved, and so the file's bytes do not depend on where the run was killed.
#include <fmt/format.h>

#include <cstring>
#include <optional>

#include "exec/segment_files.h"
#include "exec/wire.h"
#include "io/audio_sink.h"
#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"

namespace morph::audio {
namespace {

constexpr int kSegmentSeconds = 10;

struct WriteState final : StageState {
  std::unique_ptr<AudioSink> sink;
  std::uint64_t n_frames = 0;
  std::optional<exec::SegmentFiles> segments;  ///< of 32-bit floats, in a run that is saved
  std::vector<float> open;                     ///< the segment in the making
  bool to_stdout = false;

  std::vector<std::byte> save() const override {
    if (to_stdout)
      throw Error(ErrorCode::pipeline, "audio/write",
                  "what went to standard output cannot be taken back, so the run cannot be saved; write to a file");
    if (!segments)
      throw Error(ErrorCode::pipeline, "audio/write",
                  "the run was not begun as one that is saved (RunOptions::checkpoint), and an encoder in mid-file "
                  "cannot be saved");
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    writer.u64(n_frames);
    segments->save(writer);
    writer.floats(open);
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "audio/write");
    if (!segments) reader.fail("expected a run that is saved");
    n_frames = reader.u64();
    segments->restore(reader);
    open = reader.floats();
    reader.expect_end();
  }
};

class Write final : public SimpleStage<WriteState> {
 public:
  Write(std::string path, SinkOptions options) : path_(std::move(path)), options_(std::move(options)) {}

  std::unique_ptr<StageState> open(const OpenContext& context) const override {
    auto state = std::make_unique<WriteState>();
    state->to_stdout = path_ == "-";
    if (!context.segments.empty() && !state->to_stdout) {
      open_sink(path_, options_);  // what is wrong with the place or the format is known before the work
      state->segments.emplace(context.segments);
    }
    return state;
  }

  StepStatus step_one(WriteState& state, StageIo& io) const override {
    if (!state.sink && !state.segments) state.sink = open_sink(path_, options_);
    if (io.available(0) > 0) {
      const Packet packet = io.take(0);
      const AudioChunk& chunk = packet.as<AudioChunk>();
      if (chunk.rate_hz != options_.rate_hz || chunk.channels != options_.channels)
        throw Error(ErrorCode::internal, "audio/write",
                    fmt::format("expected {} Hz and {} channels as negotiated, found {} Hz and {}", options_.rate_hz,
                                options_.channels, chunk.rate_hz, chunk.channels));
      if (state.segments)
        keep(state, chunk.samples);
      else
        state.sink->write(chunk.samples);
      state.n_frames += chunk.n_frames();
      return StepStatus::ready;
    }
    if (!io.ended(0)) return StepStatus::need_input;
    if (state.segments)
      join(state, io);
    else
      state.sink->finish();
    io.metric("audio_seconds", static_cast<double>(state.n_frames) / options_.rate_hz);
    return StepStatus::done;
  }

 private:
  std::size_t segment_samples() const {
    return static_cast<std::size_t>(options_.rate_hz) * static_cast<std::size_t>(options_.channels) * kSegmentSeconds;
  }

  void keep(WriteState& state, std::span<const float> samples) const {
    while (!samples.empty()) {
      const std::size_t n = std::min(segment_samples() - state.open.size(), samples.size());
      state.open.insert(state.open.end(), samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(n));
      samples = samples.subspan(n);
      if (state.open.size() < segment_samples()) return;
      state.segments->add(std::as_bytes(std::span(state.open)));
      state.open.clear();
    }
  }

  /// Encodes the whole file from what was kept.
  void join(WriteState& state, StageIo& io) const {
    const std::unique_ptr<AudioSink> sink = open_sink(path_, options_);
    std::vector<float> samples(segment_samples());
    for (std::size_t i = 0; i < state.segments->size(); ++i) {
      if (io.cancelled()) throw Error(ErrorCode::cancelled, path_, "cancelled while the file was put together");
      const std::vector<std::byte> bytes = state.segments->read(i);
      samples.resize(bytes.size() / sizeof(float));
      std::memcpy(samples.data(), bytes.data(), samples.size() * sizeof(float));
      sink->write(samples);
    }
    sink->write(state.open);
    sink->finish();
  }

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
  spec.checkpointable = true;
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
