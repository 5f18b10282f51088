// audio/transcribe: speech to text with a model of the whisper family.
//
// Files (audio/pcm) are heard in windows of 30 s; the text so far goes out after each, the whole text at the end. Live
// speech (audio/speech) follows the turn protocol of morph/text.h: partial texts while someone speaks, a tentative one
// at every pause, a final one when the turn is over (at once, when nothing was said since the pause).
#include <fmt/format.h>

#include <cmath>

#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "recognise/listener.h"

namespace morph::audio {
namespace {

constexpr double kLeadIn = 0.5;  // seconds kept from before a turn begins

struct TranscribeOptions {
  ListenOptions listen;
  bool timestamps = true;
  double partial_interval_s = 1.0;
  bool turns = false;  ///< the input carries turn markers
  bool live = true;    ///< someone waits: hear while they speak; otherwise each turn is heard once, when it is over
};

/// One run: the listener, and what was sent of the current turn.
class TranscribeState final : public StageState {
 public:
  TranscribeState(std::shared_ptr<const WhisperModel> model, int n_threads, const ListenOptions& options)
      : listener(std::move(model), n_threads, options) {}

  void flush(std::uint64_t /*epoch*/) override { forget(); }
  void forget() {
    listener.clear();
    in_turn = heard_pause = sent = false;
    since_partial_s = 0;
  }

  Listener listener;
  bool in_turn = false;
  bool heard_pause = false;  ///< the turn so far was heard at its last pause, and nothing was said since
  bool sent = false;         ///< the turn has a packet already, `first`
  std::uint64_t first = 0, pause_index = 0;
  double since_partial_s = 0;
  bool finished = false;
  ListenStats reported;
};

class Transcribe final : public SimpleStage<TranscribeState> {
 public:
  Transcribe(std::shared_ptr<const WhisperModel> model, int n_threads, TranscribeOptions options)
      : model_(std::move(model)), n_threads_(n_threads), options_(std::move(options)) {}

  std::unique_ptr<StageState> open(const OpenContext& context) const override {
    ListenOptions listen = options_.listen;
    listen.seed = context.seed;
    return std::make_unique<TranscribeState>(model_, n_threads_, listen);
  }

  StepStatus step_one(TranscribeState& state, StageIo& io) const override {
    if (state.finished) return StepStatus::done;
    if (io.space(0) == 0) return StepStatus::output_full;
    state.listener.set_cancelled([&io] { return io.cancelled(); });
    const StepStatus status = options_.turns ? step_turns(state, io) : step_file(state, io);
    state.listener.set_cancelled({});
    report(state, io);
    return status;
  }

 private:
  StepStatus step_file(TranscribeState& state, StageIo& io) const {
    while (io.available(0) > 0 && !window_is_full(state)) take(state, io);
    if (window_is_full(state) && state.listener.hear_window(false)) {
      send(state, io, TurnState::partial, 0);
      return StepStatus::ready;
    }
    if (!io.ended(0)) return StepStatus::need_input;
    if (state.listener.hear_window(true)) {
      if (state.listener.pending_s() > 0) send(state, io, TurnState::partial, 0);
      return StepStatus::ready;
    }
    send(state, io, TurnState::final, 0);
    state.finished = true;
    return StepStatus::done;
  }

  bool window_is_full(const TranscribeState& state) const {
    return state.listener.pending_s() >= 0.02 * model_->config.max_source_positions;
  }

  /// One packet's samples; returns it.
  Packet take(TranscribeState& state, StageIo& io) const {
    Packet packet = io.take(0);
    const AudioChunk& chunk = packet.as<AudioChunk>();
    if (chunk.rate_hz != LogMel::kRate || chunk.channels != 1)
      throw Error(ErrorCode::internal, "audio/transcribe",
                  fmt::format("expected 16000 Hz and one channel, found {} Hz and {}", chunk.rate_hz, chunk.channels));
    state.listener.push(chunk.samples);
    return packet;
  }

  /// Takes packets until one makes it hear: so a step is one hearing at most, and a backlog of chunks costs one step.
  StepStatus step_turns(TranscribeState& state, StageIo& io) const {
    while (io.available(0) > 0) {
      const Packet packet = take(state, io);
      if (take_turn_chunk(state, io, packet.as<AudioChunk>())) return StepStatus::ready;
      if (io.space(0) == 0) return StepStatus::output_full;
    }
    if (!io.ended(0)) return StepStatus::need_input;
    if (state.in_turn) end_turn(state, io, state.pause_index);
    state.finished = true;
    return StepStatus::done;
  }

  /// True when it heard (ran the model).
  bool take_turn_chunk(TranscribeState& state, StageIo& io, const AudioChunk& chunk) const {
    if (chunk.marker == TurnMarker::speech_start && !state.in_turn) {
      state.in_turn = true;
      state.since_partial_s = 0;
    }
    if (!state.in_turn) {
      state.listener.keep_last(kLeadIn);
      return false;
    }
    if (chunk.marker == TurnMarker::resume || (chunk.speech && chunk.marker == TurnMarker::none))
      state.heard_pause = false;
    if (!options_.live && chunk.marker != TurnMarker::end) return false;
    switch (chunk.marker) {
      case TurnMarker::pause:
        state.listener.hear_turn(true);
        state.pause_index = chunk.pause_index;
        state.heard_pause = true;
        state.since_partial_s = 0;
        send(state, io, TurnState::tentative, chunk.pause_index);
        return true;
      case TurnMarker::end:
        return end_turn(state, io, chunk.pause_index);
      case TurnMarker::resume:
        // Nothing new was heard yet, but an answer that was begun at the pause is in vain: say so at once.
        if (state.sent) send(state, io, TurnState::partial, 0);
        break;
      case TurnMarker::none:
      case TurnMarker::speech_start:
        break;
    }
    if (state.heard_pause) return false;
    state.since_partial_s += static_cast<double>(chunk.n_frames()) / LogMel::kRate;
    // Not in a silence: it may be the pause at which the answer begins, and that must not wait for a partial text.
    if (state.since_partial_s < options_.partial_interval_s || !chunk.speech) return false;
    state.since_partial_s = 0;
    state.listener.hear_turn(false);
    if (!state.listener.text().empty()) send(state, io, TurnState::partial, 0);
    return true;
  }

  /// True when it had to hear once more.
  bool end_turn(TranscribeState& state, StageIo& io, std::uint64_t pause_index) const {
    const bool hears = !state.heard_pause;
    if (hears) state.listener.hear_turn(true);
    if (state.sent || !state.listener.text().empty()) send(state, io, TurnState::final, pause_index);
    state.forget();
    return hears;
  }

  void send(TranscribeState& state, StageIo& io, TurnState turn_state, std::uint64_t pause_index) const {
    auto text = std::make_shared<Text>();
    text->utf8 = state.listener.text();
    text->language = state.listener.language();
    if (options_.timestamps) text->spans = state.listener.spans();
    text->turn_state = turn_state;
    text->pause_index = pause_index;
    text->stable_bytes = turn_state == TurnState::partial ? state.listener.stable_bytes() : text->utf8.size();
    const auto time = std::chrono::duration_cast<StreamTime>(std::chrono::duration<double>(state.listener.heard_s()));
    Packet packet = Packet::data<Text>(std::move(text), time);
    if (state.sent) {
      packet.kind = PacketKind::revise;
      packet.since = state.first;
    }
    const std::uint64_t sequence = io.push(0, std::move(packet));
    if (!state.sent) state.first = sequence;
    state.sent = true;
  }

  void report(TranscribeState& state, StageIo& io) const {
    const ListenStats& now = state.listener.stats();
    io.metric("encode_ms", 1000 * (now.encode_s - state.reported.encode_s));
    io.metric("decode_ms", 1000 * (now.decode_s - state.reported.decode_s));
    io.metric("windows", now.n_windows - state.reported.n_windows);
    io.metric("tokens", now.n_tokens - state.reported.n_tokens);
    state.reported = now;
  }

  std::shared_ptr<const WhisperModel> model_;
  int n_threads_;
  TranscribeOptions options_;
};

TranscribeOptions read_options(const Params& params, const Format* input) {
  TranscribeOptions options;
  options.turns = input != nullptr && input->type == "audio/speech";
  ListenOptions& listen = options.listen;
  listen.language = params.get_string("language");
  listen.decode.translating = params.get_string("task") == "translate";
  listen.decode.beam_size = static_cast<int>(params.get_int("beam_size"));
  listen.decode.max_no_speech = params.get_double("max_no_speech");
  listen.previous_text = params.get_bool("previous_text");
  const std::string& window = params.get_string("exact_window");
  listen.exact_window = window == "auto" ? !options.turns : window == "on";
  options.timestamps = params.get_bool("timestamps");
  options.partial_interval_s = params.get_double("partial_interval");
  options.live = params.get_string("clock") == "live";
  if (!params.get_bool("fallback"))
    listen.decode.temperatures = {params.get_double("temperature")};
  else
    std::erase_if(listen.decode.temperatures, [&](double t) { return t < params.get_double("temperature"); });
  return options;
}

tensor::StoragePolicy policy_of(const Params& params) {
  return params.get_string("precision") == "exact" ? tensor::StoragePolicy::exact() : tensor::StoragePolicy::fast();
}

Estimate estimate(const ResolveContext& context) {
  const std::filesystem::path folder = context.find_model(context.params.get_string("model"));
  const WhisperConfig config = WhisperConfig::read(folder);
  const tensor::StoragePolicy policy = policy_of(context.params);
  const auto d = static_cast<std::uint64_t>(config.d_model),
             n = static_cast<std::uint64_t>(config.max_source_positions);
  Estimate costs;
  costs.weights = whisper_weight_bytes(folder, policy);
  costs.weights_key = whisper_key(folder, context.device, policy);
  costs.session = 4 * d * static_cast<std::uint64_t>(config.decoder_layers) *
                      (n + static_cast<std::uint64_t>(WhisperSession::cache_rows(config))) +
                  static_cast<std::uint64_t>(config.vocab_size) * 12;
  // Decoder graphs that are kept for numbers of beams and lengths met: mostly their logits.
  costs.session += 24 * static_cast<std::uint64_t>(context.params.get_int("beam_size")) *
                   static_cast<std::uint64_t>(config.vocab_size);
  // Scores of a block of queries, the widest activations, and the inputs of the second convolution.
  costs.scratch = 4 * n *
                  (256 * static_cast<std::uint64_t>(config.encoder_attention_heads) +
                   static_cast<std::uint64_t>(config.encoder_ffn_dim) + 10 * d);
  costs.load_peak = 32ULL << 20;
  costs.longest_step_ms = 3000;
  return costs;
}

std::shared_ptr<const Stage> create(const CreateContext& context) {
  const std::filesystem::path folder = context.find_model(context.params.get_string("model"));
  const tensor::StoragePolicy policy = policy_of(context.params);
  auto model = context.models.get_as<WhisperModel>(whisper_key(folder, context.device, policy), [&] {
    return load_whisper(folder, context.device, context.n_threads, policy,
                        [&](double fraction) { context.progress(fraction, "whisper"); });
  });
  TranscribeOptions options = read_options(context.params, context.inputs.empty() ? nullptr : context.inputs[0]);
  // Opened once here, so that a wrong language or a missing tokenizer is known before anything runs.
  const WhisperTokens tokens(*model);
  if (options.listen.language != "auto") tokens.prompt(options.listen.language, false, true);
  if (options.listen.decode.translating && !tokens.multilingual())
    throw Error(ErrorCode::config, context.where + "/task",
                "expected task transcribe: this model knows English only; choose a multilingual one to translate");
  return std::make_shared<Transcribe>(std::move(model), context.n_threads, std::move(options));
}

}  // namespace

void register_transcribe(Registry& registry) {
  StageSpec spec;
  spec.name = "audio/transcribe";
  spec.help = "Writes down speech. Follows turns while someone speaks, or takes a whole recording.";
  const std::map<std::string, Constraint> fields{{"rate", Constraint::is(std::int64_t{LogMel::kRate})},
                                                 {"channels", Constraint::is(std::int64_t{1})}};
  spec.inputs = {{"audio", {{"audio/speech", fields}, {"audio/pcm", fields}}, "speech, 16 kHz mono"}};
  spec.outputs = {{"text", {{"text/turns", {}}}, "what was said, with times"}};
  spec.params = {
      {"model", ParamType::string, std::string("whisper-base"), "a model of the whisper family: name or folder"},
      {"language", ParamType::string, std::string("auto"), "code of the language spoken (en, de, zh, ...), or auto"},
      {"task",
       ParamType::string,
       std::string("transcribe"),
       "transcribe, or translate into English",
       {},
       {},
       {"transcribe", "translate"}},
      {"timestamps", ParamType::boolean, true, "give each sentence's time"},
      {"temperature", ParamType::number, 0.0, "of the first attempt; 0 takes the likeliest words", 0.0, 1.0},
      {"beam_size", ParamType::integer, std::int64_t{5},
       "texts that are weighed against each other where speech is not clear; 1 never does", 1.0, 16.0},
      {"fallback", ParamType::boolean, true, "try again with a higher temperature when a text looks wrong"},
      {"previous_text", ParamType::boolean, true, "tell the model the text before"},
      {"max_no_speech", ParamType::number, 0.6, "above this probability of no speech, unsure text is dropped", 0.0,
       1.0},
      {"partial_interval", ParamType::number, 1.0, "seconds of speech between partial texts of a turn", 0.2, 30.0},
      {"clock",
       ParamType::string,
       std::string("live"),
       "live: hear turns while they are spoken; stream: hear each once, when it is over (less work, for recordings)",
       {},
       {},
       {"live", "stream"}},
      {"exact_window",
       ParamType::string,
       std::string("auto"),
       "encode 30 s always (on), only what was said (off), or on for recordings and off for turns (auto)",
       {},
       {},
       {"auto", "on", "off"}},
      {"precision",
       ParamType::string,
       std::string("fast"),
       "exact keeps every weight in 32 bits",
       {},
       {},
       {"fast", "exact"}},
  };
  spec.load = StageLoad::heavy;
  spec.devices = {"cpu", "cuda", "vulkan"};
  spec.estimate = estimate;
  spec.create = create;
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
