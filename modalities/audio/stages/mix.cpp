// audio/mix: another number of channels. To fewer: output channel c is the mean of the input channels c, c + n, c + 2n,
// ... (mono is the mean of all). To more: input channels are repeated in turn. A converter.
#include <fmt/format.h>

#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"

namespace morph::audio {
namespace {

constexpr std::int64_t kMaxChannels = 64;

class Mix final : public SimpleStage<StageState> {
 public:
  Mix(int from, int to) : from_(static_cast<std::size_t>(from)), to_(static_cast<std::size_t>(to)) {}
  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<StageState>(); }

  StepStatus step_one(StageState&, StageIo& io) const override {
    if (io.space(0) == 0) return StepStatus::output_full;
    if (io.available(0) == 0) return io.ended(0) ? StepStatus::done : StepStatus::need_input;
    Packet packet = io.take(0);
    if (from_ != to_) packet.payload = mixed(packet.as<AudioChunk>());
    io.push(0, std::move(packet));
    return StepStatus::ready;
  }

 private:
  std::shared_ptr<const AudioChunk> mixed(const AudioChunk& chunk) const {
    if (chunk.channels != static_cast<int>(from_))
      throw Error(ErrorCode::internal, "audio/mix",
                  fmt::format("expected {} channels as negotiated, found {}", from_, chunk.channels));
    auto made = std::make_shared<AudioChunk>();
    made->rate_hz = chunk.rate_hz;
    made->channels = static_cast<int>(to_);
    made->marker = chunk.marker;
    made->speech = chunk.speech;
    made->pause_index = chunk.pause_index;
    made->answer_end = chunk.answer_end;
    made->last_of_answer = chunk.last_of_answer;
    const std::size_t n_frames = chunk.n_frames();
    made->samples.resize(n_frames * to_);
    for (std::size_t i = 0; i < n_frames; ++i) {
      const float* in = chunk.samples.data() + i * from_;
      float* out = made->samples.data() + i * to_;
      for (std::size_t c = 0; c < to_; ++c) {
        if (to_ > from_) {
          out[c] = in[c % from_];
          continue;
        }
        float sum = 0.0f;
        std::size_t n = 0;
        for (std::size_t k = c; k < from_; k += to_, ++n) sum += in[k];
        out[c] = sum / static_cast<float>(n);
      }
    }
    return made;
  }

  std::size_t from_, to_;
};

}  // namespace

void register_mix(Registry& registry) {
  StageSpec spec;
  spec.name = "audio/mix";
  spec.help = "Changes the number of channels; mono is the mean of all.";
  const FormatPattern any{"audio/pcm", {{"channels", Constraint::range(1, kMaxChannels)}}};
  spec.inputs = {{"audio", {any}, "any rate and channels"}};
  spec.outputs = {{"audio", {any}, "the same with another number of channels"}};
  spec.params = {{.name = "channels",
                  .type = ParamType::integer,
                  .default_value = std::int64_t{0},
                  .help = "how many; 0: what the next stage wants",
                  .min = 0,
                  .max = static_cast<double>(kMaxChannels)}};
  spec.converter = true;
  spec.checkpointable = true;
  spec.resolve = [](const ResolveContext& context) {
    const Format& in = *context.inputs[0];
    const std::int64_t channels = context.params.get_int("channels");
    FormatPattern out{"audio/pcm", {}};
    out.fields["channels"] =
        channels > 0 ? Constraint::is(channels) : Constraint::range(1, kMaxChannels, in.get_int("channels"));
    if (in.fields.count("rate") > 0) out.fields["rate"] = Constraint::is(in.get_int("rate"));
    return std::vector<std::vector<FormatPattern>>{{out}};
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const std::int64_t from = context.inputs[0]->get_int("channels");
    const std::int64_t to = context.outputs[0] != nullptr ? context.outputs[0]->get_int("channels") : from;
    return std::make_shared<const Mix>(static_cast<int>(from), static_cast<int>(to));
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
