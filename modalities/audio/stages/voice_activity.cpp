// audio/voice_activity: who speaks when. Silero's detector on 32 ms windows, turns by TurnDetector.
//
// `speech` carries the turns' audio only (with a little from before), with markers; `turns` the same as events, and a
// `tick` per window so that others know the stream's time. Model: silero-vad 6 (input [1, 64 + 512]: the last 64
// samples of the window before, then the window; LSTM state in and out).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "delegates/openvino/delegate.h"
#include "exec/wire.h"
#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/turn_protocol.h"
#include "turns/turn_detector.h"

namespace morph::audio {
namespace {

using openvino::OnnxModel;
using openvino::OnnxSession;
using openvino::OnnxTensor;
using openvino::OnnxTensors;
using openvino::OnnxType;

constexpr int kRate = 16000;
constexpr std::size_t kWindow = 512, kContext = 64;
constexpr int kWindowsPerStep = 8;  // about a millisecond
constexpr int kSpeechPort = 0, kTurnsPort = 1;
constexpr float kSurelyNobody = 0.15f;

std::string_view name_of(TurnMarker marker) { return turns::kEvents[static_cast<std::size_t>(marker)]; }

StreamTime time_of(std::int64_t n_samples) { return StreamTime(n_samples * (1000000000 / kRate)); }

struct ActivityState final : StageState {
  ActivityState(std::unique_ptr<OnnxSession> model, const TurnRules& rules)
      : session(std::move(model)), detector(rules) {
    forget();
  }
  /// What was being said is no part of what comes: a turn that was open is dropped, not ended. Pauses and the stream's
  /// time go on counting.
  void flush(std::uint64_t /*epoch*/) override {
    n_samples += static_cast<std::int64_t>(unread.size());
    unread.clear();
    before.clear();
    detector.forget_turn();
    forget();
  }
  void forget() {
    inputs["input"] = OnnxTensor::zeros(OnnxType::f32, {1, kContext + kWindow});
    inputs["state"] = OnnxTensor::zeros(OnnxType::f32, {2, 1, 128});
  }
  std::unique_ptr<OnnxSession> session;
  TurnDetector detector;
  OnnxTensors inputs;          ///< the LSTM's state among them
  std::vector<float> unread;   ///< less than a window, between steps
  std::vector<float> before;   ///< audio outside of turns that may yet be wanted, ends where `unread` begins
  std::int64_t n_samples = 0;  ///< judged so far
  std::int64_t n_quiet = 0;    ///< windows in a row in which there was surely nobody
  bool finished = false;

  std::vector<std::byte> save() const override {
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    for (const char* const name : {"input", "state"}) writer.bytes(inputs.find(name)->second.data);
    detector.save(writer);
    writer.floats(unread);
    writer.floats(before);
    writer.i64(n_samples);
    writer.i64(n_quiet);
    writer.boolean(finished);
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "audio/voice_activity");
    for (const char* const name : {"input", "state"}) {
      const std::span<const std::byte> bytes = reader.bytes();
      std::vector<std::byte>& data = inputs.find(name)->second.data;
      if (bytes.size() != data.size()) reader.fail("expected a detector's state");
      data.assign(bytes.begin(), bytes.end());
    }
    detector.restore(reader);
    unread = reader.floats();
    before = reader.floats();
    n_samples = reader.i64();
    n_quiet = reader.i64();
    finished = reader.boolean();
    reader.expect_end();
  }
};

class VoiceActivity final : public SimpleStage<ActivityState> {
 public:
  VoiceActivity(std::shared_ptr<const OnnxModel> model, const TurnRules& rules, double pre_roll_s, double forget_s)
      : model_(std::move(model)),
        rules_(rules),
        n_pre_roll_(static_cast<std::size_t>(std::lround(pre_roll_s * kRate))),
        n_forget_(std::lround(forget_s / TurnDetector::kWindowSeconds)) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override {
    return std::make_unique<ActivityState>(model_->create_session(), rules_);
  }

  StepStatus step_one(ActivityState& state, StageIo& io) const override {
    if (io.space(kSpeechPort) == 0 || io.space(kTurnsPort) == 0) return StepStatus::output_full;
    for (int i = 0; i < kWindowsPerStep; ++i) {
      while (state.unread.size() < kWindow && io.available(0) > 0) take(state, io);
      if (state.unread.size() < kWindow) {
        if (!io.ended(0)) return StepStatus::need_input;
        finish(state, io);
        return StepStatus::done;
      }
      const std::vector<float> window(state.unread.begin(), state.unread.begin() + kWindow);
      state.unread.erase(state.unread.begin(), state.unread.begin() + kWindow);
      const TurnDetector::Decision decision = state.detector.add(probability(state, window));
      state.n_samples += static_cast<std::int64_t>(kWindow);
      forward(state, io, window, decision);
    }
    return StepStatus::ready;
  }

 private:
  static void take(ActivityState& state, StageIo& io) {
    const Packet packet = io.take(0);
    const AudioChunk& chunk = packet.as<AudioChunk>();
    if (chunk.rate_hz != kRate || chunk.channels != 1)
      throw Error(ErrorCode::internal, "audio/voice_activity",
                  fmt::format("expected 16000 Hz mono as negotiated, found {} Hz and {} channels", chunk.rate_hz,
                              chunk.channels));
    state.unread.insert(state.unread.end(), chunk.samples.begin(), chunk.samples.end());
  }

  float probability(ActivityState& state, std::span<const float> window) const {
    const std::span<float> input = state.inputs.at("input").values<float>();
    std::copy(input.end() - kContext, input.end(), input.begin());
    std::copy(window.begin(), window.end(), input.begin() + kContext);
    OnnxTensors outputs = state.session->run(state.inputs);
    state.inputs.at("state") = std::move(outputs.at("stateN"));
    const float found = outputs.at("output").values<float>()[0];
    // Words said over and over fade for a detector that remembers them: after a silence it begins anew.
    state.n_quiet = found < kSurelyNobody ? state.n_quiet + 1 : 0;
    if (n_forget_ > 0 && state.n_quiet >= n_forget_) {
      const std::span<float> memory = state.inputs.at("state").values<float>();
      std::fill(memory.begin(), memory.end(), 0.0f);
    }
    return found;
  }

  void forward(ActivityState& state, StageIo& io, const std::vector<float>& window,
               const TurnDetector::Decision& decision) const {
    if (decision.marker == TurnMarker::speech_start || !decision.in_turn)
      state.before.insert(state.before.end(), window.begin(), window.end());
    if (decision.marker == TurnMarker::speech_start) {
      send(state, io, std::exchange(state.before, {}), decision);
    } else if (decision.in_turn) {
      send(state, io, window, decision);
    } else {
      const std::size_t kept = n_pre_roll_ + static_cast<std::size_t>(state.detector.candidate_windows()) * kWindow;
      if (state.before.size() > kept)
        state.before.erase(state.before.begin(), state.before.end() - static_cast<std::ptrdiff_t>(kept));
    }
    if (decision.marker != TurnMarker::none) send_event(state, io, decision.marker, decision.pause_index);
    send_event(state, io, TurnMarker::none, 0);
  }

  /// `samples` end at state.n_samples.
  static void send(const ActivityState& state, StageIo& io, std::vector<float> samples,
                   const TurnDetector::Decision& decision) {
    auto chunk = std::make_shared<AudioChunk>();
    chunk->samples = std::move(samples);
    chunk->rate_hz = kRate;
    chunk->marker = decision.marker;
    chunk->speech = decision.speech;
    chunk->pause_index = decision.pause_index;
    const auto n = static_cast<std::int64_t>(chunk->samples.size());
    io.push(kSpeechPort, Packet::data<AudioChunk>(std::move(chunk), time_of(state.n_samples - n), time_of(n)));
  }

  static void send_event(const ActivityState& state, StageIo& io, TurnMarker marker, std::uint64_t pause_index) {
    auto event = std::make_shared<EventPayload>();
    event->name = name_of(marker);
    event->values.set(std::string(turns::kTime), static_cast<double>(state.n_samples) / kRate);
    if (marker >= TurnMarker::pause)
      event->values.set(std::string(turns::kPauseIndex), static_cast<std::int64_t>(pause_index));
    io.push(kTurnsPort, Packet::data<EventPayload>(std::move(event), time_of(state.n_samples)));
  }

  /// The rest, less than a window, is judged with silence behind it; an open turn ends. Its last chunk may be empty.
  static void finish(ActivityState& state, StageIo& io) {
    if (state.finished) return;
    state.finished = true;
    if (std::optional<TurnDetector::Decision> end = state.detector.finish()) {
      state.n_samples += static_cast<std::int64_t>(state.unread.size());
      send(state, io, std::exchange(state.unread, {}), *end);
      send_event(state, io, TurnMarker::end, end->pause_index);
    }
    send_event(state, io, TurnMarker::none, 0);
  }

  std::shared_ptr<const OnnxModel> model_;
  TurnRules rules_;
  std::size_t n_pre_roll_;
  std::int64_t n_forget_;  ///< windows; 0: never
};

std::filesystem::path model_file(const std::function<std::filesystem::path(const std::string&)>& find_model,
                                 const std::string& name) {
  const std::filesystem::path found = find_model(name);
  if (!std::filesystem::is_directory(found)) return found;
  const std::filesystem::path file = found / "silero_vad_openvino_16k.onnx";
  if (!std::filesystem::exists(file))
    throw Error(ErrorCode::weights, found.string(),
                "expected silero_vad_openvino_16k.onnx in this folder, found none; run `morph pull silero-vad`");
  return file;
}

void check_model(const OnnxModel& model) {
  const auto has = [](const std::vector<openvino::OnnxPort>& ports, std::string_view name) {
    return std::any_of(ports.begin(), ports.end(), [&](const openvino::OnnxPort& port) { return port.name == name; });
  };
  if (has(model.inputs(), "input") && has(model.inputs(), "state") && has(model.outputs(), "output") &&
      has(model.outputs(), "stateN"))
    return;
  throw Error(ErrorCode::weights, model.file().string(),
              "expected Silero's inputs input, state and outputs output, stateN, found others; use the file "
              "silero_vad_openvino_16k.onnx of silero-vad 6");
}

ParamSpec seconds_param(std::string name, double value, std::string help, double max) {
  return {.name = std::move(name),
          .type = ParamType::number,
          .default_value = value,
          .help = std::move(help),
          .min = 0.0,
          .max = max};
}

openvino::OnnxOptions model_options(const std::string& device) { return {.device = device, .n_threads = 1}; }

}  // namespace

void register_voice_activity(Registry& registry) {
  StageSpec spec;
  spec.name = "audio/voice_activity";
  spec.help = "Finds the turns of a speaker: where speech starts, pauses, goes on and ends.";
  const std::map<std::string, Constraint> mono{{"rate", Constraint::is(std::int64_t{kRate})},
                                               {"channels", Constraint::is(std::int64_t{1})}};
  spec.inputs = {{"audio", {{"audio/pcm", mono}}, "16 kHz mono"}};
  spec.outputs = {
      {"speech", {{"audio/speech", mono}}, "the turns' audio, with markers"},
      {"turns", {{"event", {}}}, "speech_start, pause, resume, end (pause_index) and a tick per 32 ms (time_s)"}};
  spec.params = {
      {.name = "model",
       .type = ParamType::string,
       .default_value = std::string("silero-vad"),
       .help = "Silero's detector: a name in the models folder, or a file"},
      seconds_param("threshold", 0.5, "probability from which a window is speech", 1.0),
      seconds_param("pre_roll_s", 0.2, "audio from before the first speech that belongs to the turn", 5.0),
      seconds_param("pause_s", 0.2, "silence after which an answer may be prepared", 10.0),
      seconds_param("end_s", 0.6, "silence after which the turn is over", 30.0),
      seconds_param("min_speech_s", 0.2, "speech that opens a turn; shorter sounds are left out", 5.0),
      seconds_param("forget_s", 0.0, "silence after which the detector forgets what it heard; 0: never", 10.0),
      seconds_param("max_turn_s", 60.0, "a longer turn is ended", 3600.0)};
  spec.checkpointable = true;
  spec.validate = [](const Params& params, std::vector<Diagnostic>& found) {
    if (params.get_double("end_s") < params.get_double("pause_s"))
      found.push_back({Diagnostic::Severity::error, ErrorCode::config, "end_s",
                       fmt::format("expected at least pause_s ({}), found {}", params.get_double("pause_s"),
                                   params.get_double("end_s"))});
  };
  spec.estimate = [](const ResolveContext& context) {
    return openvino::estimate_onnx(model_file(context.find_model, context.params.get_string("model")),
                                   model_options(context.device));
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const Params& params = context.params;
    context.progress(0.0, "voice activity model");
    const auto model = OnnxModel::load(context.models, model_file(context.find_model, params.get_string("model")),
                                       model_options(context.device));
    check_model(*model);
    TurnRules rules;
    rules.threshold = static_cast<float>(params.get_double("threshold"));
    rules.pause_s = params.get_double("pause_s");
    rules.end_s = params.get_double("end_s");
    rules.min_speech_s = params.get_double("min_speech_s");
    rules.max_turn_s = params.get_double("max_turn_s");
    return std::make_shared<const VoiceActivity>(model, rules, params.get_double("pre_roll_s"),
                                                 params.get_double("forget_s"));
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
