// audio/resample: any rate to any rate, as a stream. A converter: negotiation puts it between ports that differ in
// rate.
#include <fmt/format.h>

#include <optional>

#include "exec/wire.h"
#include "io/anchored_resampler.h"
#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"

namespace morph::audio {
namespace {

constexpr std::int64_t kMaxRate = 1000000;

struct ResampleState final : StageState {
  std::optional<AnchoredResampler> resampler;  ///< none where the rates are equal
  std::optional<StreamTime> start;             ///< of the stream's first chunk
  std::int64_t n_made = 0;
  std::uint64_t last_epoch = 0;
  std::size_t answer_end = 0;
  bool open = false;  ///< something went in since the last finish

  void flush(std::uint64_t epoch) override {
    if (last_epoch >= epoch || !open) return;
    resampler->clear();
    start.reset();
    n_made = 0;
    open = false;
  }
  std::vector<std::byte> save() const override {
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    if (resampler) resampler->save(writer);
    writer.boolean(start.has_value());
    writer.i64(start.value_or(StreamTime{0}).count());
    writer.i64(n_made);
    writer.u64(last_epoch);
    writer.u64(answer_end);
    writer.boolean(open);
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "audio/resample");
    if (resampler) resampler->restore(reader);
    const bool begun = reader.boolean();
    const StreamTime from(reader.i64());
    if (begun) start = from;
    n_made = reader.i64();
    last_epoch = reader.u64();
    answer_end = static_cast<std::size_t>(reader.u64());
    open = reader.boolean();
    reader.expect_end();
  }
};

class Resample final : public SimpleStage<ResampleState> {
 public:
  Resample(int from_hz, int to_hz, int channels) : from_hz_(from_hz), to_hz_(to_hz), channels_(channels) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override {
    auto state = std::make_unique<ResampleState>();
    if (from_hz_ != to_hz_) state->resampler.emplace(from_hz_, to_hz_, channels_);
    return state;
  }

  StepStatus step_one(ResampleState& state, StageIo& io) const override {
    if (io.space(0) == 0) return StepStatus::output_full;
    if (io.available(0) == 0) {
      if (!io.ended(0)) return StepStatus::need_input;
      if (state.open) finish(state, io, false);
      return StepStatus::done;
    }
    Packet packet = io.take(0);
    if (from_hz_ == to_hz_) {
      io.push(0, std::move(packet));
      return StepStatus::ready;
    }
    const AudioChunk& chunk = packet.as<AudioChunk>();
    if (chunk.rate_hz != from_hz_ || chunk.channels != channels_)
      throw Error(ErrorCode::internal, "audio/resample",
                  fmt::format("expected {} Hz and {} channels as negotiated, found {} Hz and {}", from_hz_, channels_,
                              chunk.rate_hz, chunk.channels));
    if (!state.start) state.start = packet.time;
    state.last_epoch = packet.epoch;
    state.answer_end = std::max(state.answer_end, chunk.answer_end);
    state.open = true;
    auto made = std::make_shared<AudioChunk>();
    made->speech = chunk.speech;
    made->answer_end = chunk.answer_end;
    state.resampler->process(chunk.samples, made->samples);
    if (chunk.last_of_answer) {  // an answer ends whole: its tail does not wait for the next one
      state.resampler->finish(made->samples);
      state.resampler->clear();
      made->last_of_answer = true;
    }
    send(state, io, std::move(made));
    if (chunk.last_of_answer) {
      state.open = false;
      state.answer_end = 0;
    }
    return StepStatus::ready;
  }

 private:
  void finish(ResampleState& state, StageIo& io, bool last_of_answer) const {
    auto made = std::make_shared<AudioChunk>();
    state.resampler->finish(made->samples);
    made->answer_end = state.answer_end;
    made->last_of_answer = last_of_answer;
    state.open = false;
    send(state, io, std::move(made));
  }

  void send(ResampleState& state, StageIo& io, std::shared_ptr<AudioChunk> made) const {
    made->rate_hz = to_hz_;
    made->channels = channels_;
    const auto n = static_cast<std::int64_t>(made->n_frames());
    if (n == 0 && !made->last_of_answer) return;
    const auto time_of = [this](std::int64_t frames) {
      return StreamTime(frames / to_hz_ * 1000000000 + frames % to_hz_ * 1000000000 / to_hz_);
    };
    Packet packet = Packet::data<AudioChunk>(std::move(made),
                                             state.start.value_or(StreamTime{0}) + time_of(state.n_made), time_of(n));
    packet.epoch = state.last_epoch;
    state.n_made += n;
    io.push(0, std::move(packet));
  }

  int from_hz_, to_hz_, channels_;
};

}  // namespace

void register_resample(Registry& registry) {
  StageSpec spec;
  spec.name = "audio/resample";
  spec.help = "Changes the sampling rate.";
  const FormatPattern any{"audio/pcm", {{"rate", Constraint::range(1, kMaxRate)}}};
  spec.inputs = {{"audio", {any}, "any rate and channels"}};
  spec.outputs = {{"audio", {any}, "the same at another rate"}};
  spec.params = {{.name = "rate",
                  .type = ParamType::integer,
                  .default_value = std::int64_t{0},
                  .help = "samples per second; 0: what the next stage wants",
                  .min = 0,
                  .max = static_cast<double>(kMaxRate)}};
  spec.converter = true;
  spec.checkpointable = true;
  spec.resolve = [](const ResolveContext& context) {
    const Format& in = *context.inputs[0];
    const std::int64_t rate = context.params.get_int("rate");
    FormatPattern out{"audio/pcm", {}};
    out.fields["rate"] = rate > 0 ? Constraint::is(rate) : Constraint::range(1, kMaxRate, in.get_int("rate"));
    if (in.fields.count("channels") > 0) out.fields["channels"] = Constraint::is(in.get_int("channels"));
    return std::vector<std::vector<FormatPattern>>{{out}};
  };
  spec.estimate = [](const ResolveContext&) {
    Estimate estimate;
    estimate.session = 5u << 20;  // soxr's buffers, and the last seconds of what came in
    estimate.packet_bytes = 256u << 10;
    return estimate;
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const Format& in = *context.inputs[0];
    const std::int64_t from = in.get_int("rate");
    const std::int64_t to = context.outputs[0] != nullptr ? context.outputs[0]->get_int("rate") : from;
    return std::make_shared<const Resample>(static_cast<int>(from), static_cast<int>(to),
                                            static_cast<int>(in.get_int("channels")));
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
