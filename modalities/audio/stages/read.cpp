// audio/read: a file, or standard input as it comes ("-"), as chunks in its own rate and channels.
//
// A pipe gives 32 ms chunks the moment they are complete, a file chunks of a second. Input that is shorter than it says
// is delivered as far as it goes, and named: a warning, or an error where the parameter on_truncated says so.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "exec/wire.h"
#include "io/audio_source.h"
#include "morph/audio.h"
#include "morph/error.h"
#include "morph/log.h"
#include "morph/registry.h"

namespace morph::audio {
namespace {

constexpr double kLiveChunkSeconds = 0.032, kFileChunkSeconds = 1.0;

struct ReadState final : StageState {
  explicit ReadState(bool live) : from_stdin(live) {}
  const bool from_stdin;
  std::unique_ptr<AudioSource> source;
  std::vector<float> samples;   ///< of the chunk in the making
  std::int64_t n_sent = 0;      ///< frames
  std::int64_t n_to_skip = 0;   ///< frames that a run which this one goes on from has sent already
  const StageIo* io = nullptr;  ///< of the step under way

  std::vector<std::byte> save() const override {
    if (from_stdin)
      throw Error(ErrorCode::pipeline, "audio/read",
                  "standard input cannot be read again, so a run that reads it cannot be saved; give it a file");
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    writer.i64(n_sent + n_to_skip);
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "audio/read");
    n_to_skip = reader.i64();
    if (n_to_skip < 0) reader.fail("expected a position in the file, found one below 0");
    reader.expect_end();
  }
};

SourceOptions source_options(const Params& params) {
  SourceOptions options;
  options.track = static_cast<int>(params.get_int("track"));
  if (const std::string& name = params.get_string("encoding"); name != "auto") {
    RawFormat raw;
    raw.encoding = parse_encoding(name).value_or(SampleEncoding::s16le);
    raw.rate_hz = static_cast<int>(params.get_int("rate"));
    raw.channels = static_cast<int>(params.get_int("channels"));
    options.raw = raw;
  }
  return options;
}

class Read final : public SimpleStage<ReadState> {
 public:
  Read(std::string path, SourceOptions options, double chunk_s, bool strict)
      : path_(std::move(path)), options_(std::move(options)), chunk_s_(chunk_s), strict_(strict) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override {
    return std::make_unique<ReadState>(path_ == "-" || path_ == "/dev/stdin");
  }

  StepStatus step_one(ReadState& state, StageIo& io) const override {
    if (io.space(0) == 0) return StepStatus::output_full;
    state.io = &io;
    if (!state.source) {
      SourceOptions options = options_;
      options.cancelled = [&state] { return state.io->cancelled(); };
      state.source = open_audio(path_, options);
    }
    if (state.n_to_skip > 0) return skip(state, io);
    const AudioProperties& audio = state.source->properties();
    const double seconds = chunk_s_ > 0 ? chunk_s_ : audio.live ? kLiveChunkSeconds : kFileChunkSeconds;
    const auto n_frames = std::max<std::size_t>(1, static_cast<std::size_t>(seconds * audio.rate_hz));
    const AudioSource::Status status = state.source->read(n_frames, state.samples);
    if (status == AudioSource::Status::waiting)
      return StepStatus::ready;  // a thread of its own: cancel is seen between
    if (!state.samples.empty()) {
      check_numbers(state);
      send(state, io);
    }
    if (status == AudioSource::Status::more) return StepStatus::ready;
    if (state.n_sent == 0)
      throw Error(ErrorCode::format, path_, "expected audio, found a file without a single sample");
    if (const std::string fault = state.source->fault(); !fault.empty()) {
      if (strict_) throw Error(ErrorCode::format, path_, "truncated or damaged: " + fault);
      io.metric("truncated", 1);
      log(LogLevel::warning, "audio/read",
          fmt::format("{}: truncated or damaged: {}; what could be read is used", path_, fault));
    }
    return StepStatus::done;
  }

 private:
  void check_numbers(const ReadState& state) const {
    const auto bad = std::find_if_not(state.samples.begin(), state.samples.end(),
                                      [](float sample) { return std::isfinite(sample); });
    if (bad == state.samples.end()) return;
    const AudioProperties& audio = state.source->properties();
    const auto frame = state.n_sent + (bad - state.samples.begin()) / audio.channels;
    throw Error(ErrorCode::format, path_,
                fmt::format("expected numbers as samples, found {} at {:.3f} s; the file is damaged", *bad,
                            static_cast<double>(frame) / audio.rate_hz));
  }

  /// Decodes what was sent before, a second at a time: seeking is not exact in every format.
  StepStatus skip(ReadState& state, StageIo& io) const {
    const auto n =
        static_cast<std::size_t>(std::min<std::int64_t>(state.n_to_skip, state.source->properties().rate_hz));
    const AudioSource::Status status = state.source->read(n, state.samples);
    const auto n_read = static_cast<std::int64_t>(state.samples.size()) / state.source->properties().channels;
    state.samples.clear();
    state.n_sent += n_read;
    state.n_to_skip -= n_read;
    if (io.cancelled()) return StepStatus::ready;
    if (status == AudioSource::Status::end && state.n_to_skip > 0)
      throw Error(ErrorCode::format, path_,
                  fmt::format("expected {} frames more, which a saved run has read from it, found its end; the file "
                              "has changed since",
                              state.n_to_skip));
    return StepStatus::ready;
  }

  void send(ReadState& state, StageIo& io) const {
    const AudioProperties& audio = state.source->properties();
    auto chunk = std::make_shared<AudioChunk>();
    chunk->samples = std::exchange(state.samples, {});
    chunk->rate_hz = audio.rate_hz;
    chunk->channels = audio.channels;
    const auto n = static_cast<std::int64_t>(chunk->n_frames());
    const auto time_of = [&](std::int64_t frames) {
      return StreamTime(frames / audio.rate_hz * 1000000000 + frames % audio.rate_hz * 1000000000 / audio.rate_hz);
    };
    io.push(0, Packet::data<AudioChunk>(std::move(chunk), time_of(state.n_sent), time_of(n)));
    state.n_sent += n;
    if (audio.n_frames > 0)
      io.progress(std::min(1.0, static_cast<double>(state.n_sent) / static_cast<double>(audio.n_frames)), "reading");
  }

  std::string path_;
  SourceOptions options_;
  double chunk_s_;
  bool strict_;
};

std::vector<ParamSpec> read_params() {
  return {{.name = "path",
           .type = ParamType::path,
           .default_value = {},
           .help = "file to read; - is standard input",
           .required = true},
          {.name = "encoding",
           .type = ParamType::string,
           .default_value = std::string("auto"),
           .help = "auto: what the file says; else headerless samples of this kind (needs rate and channels)",
           .choices = {"auto", "u8", "s16le", "s24le", "s32le", "f32le"}},
          {.name = "rate",
           .type = ParamType::integer,
           .default_value = std::int64_t{16000},
           .help = "samples per second of headerless input",
           .min = 1,
           .max = 1000000},
          {.name = "channels",
           .type = ParamType::integer,
           .default_value = std::int64_t{1},
           .help = "channels of headerless input",
           .min = 1,
           .max = 64},
          {.name = "track",
           .type = ParamType::integer,
           .default_value = std::int64_t{-1},
           .help = "audio track of a container, from 0; -1: the default one",
           .min = -1,
           .max = 1000},
          {.name = "chunk_s",
           .type = ParamType::number,
           .default_value = 0.0,
           .help = "seconds per chunk; 0: 0.032 for a pipe, 1 for a file",
           .min = 0,
           .max = 60},
          {.name = "on_truncated",
           .type = ParamType::string,
           .default_value = std::string("warn"),
           .help = "what to do at the end of input that is shorter than it says",
           .choices = {"warn", "error"}}};
}

}  // namespace

void register_read(Registry& registry) {
  StageSpec spec;
  spec.name = "audio/read";
  spec.help = "Reads audio from a file or, as it comes, from standard input.";
  spec.outputs = {{"audio", {{"audio/pcm", {}}}, "the audio in its own rate and channels"}};
  spec.params = read_params();
  spec.load = StageLoad::blocking;
  spec.source_of = "audio";
  spec.checkpointable = true;
  spec.suffixes = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a",  ".aac", ".aiff", ".aif",
                   ".au",  ".caf",  ".w64", ".wma",  ".amr", ".weba", ".mka", ".oga"};
  spec.resolve = [](const ResolveContext& context) {
    const AudioProperties audio = probe_audio(context.params.get_string("path"), source_options(context.params));
    const FormatPattern pattern{"audio/pcm",
                                {{"rate", Constraint::is(std::int64_t{audio.rate_hz})},
                                 {"channels", Constraint::is(std::int64_t{audio.channels})}}};
    return std::vector<std::vector<FormatPattern>>{{pattern}};
  };
  spec.estimate = [](const ResolveContext&) {
    Estimate estimate;
    estimate.session = 4u << 20;
    estimate.packet_bytes = 384u << 10;  // a second of 48 kHz stereo
    return estimate;
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const Params& params = context.params;
    return std::make_shared<const Read>(params.get_string("path"), source_options(params), params.get_double("chunk_s"),
                                        params.get_string("on_truncated") == "error");
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
