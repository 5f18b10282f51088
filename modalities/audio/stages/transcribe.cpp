// audio/transcribe: speech to text, with any family of recognisers (recognise/recogniser.h).
//
// A recording (audio/pcm, or the stretches of speech that audio/voice_activity leaves of one) becomes one text: what is
// settled goes out as it grows, the whole text with its times at the end. Live speech (audio/speech) follows the turn
// protocol of morph/text.h: partial texts while someone speaks, a tentative one at every pause, a final one when the
// turn is over (at once, when nothing was said since the pause). Windows of one recording and of all runs are heard
// together.
#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "exec/wire.h"
#include "morph/audio.h"
#include "morph/error.h"
#include "morph/log.h"
#include "morph/registry.h"
#include "recognise/heard_text.h"
#include "recognise/recording_listener.h"
#include "recognise/turn_listener.h"

namespace morph::audio {
namespace {

constexpr double kLeadIn = 0.5;      // seconds kept from before a turn begins
constexpr double kLiveFactor = 2.0;  // sound that comes at less than this times its own speed is live
constexpr double kLeastClock = 1.0;  // seconds of running before that is judged

struct TranscribeOptions {
  HearOptions hear;
  bool previous_text = false;
  bool timestamps = true;
  double partial_interval_s = 1.0;
  bool turns = false;  ///< a text for each turn
  bool live = true;    ///< someone waits: hear while they speak; otherwise each turn is heard once, when it is over
  int max_windows = 8;
  bool saved = false;  ///< the run is: nothing may depend on when it began or was saved
};

TranscribeOptions read_options(const Params& params, bool speech) {
  TranscribeOptions options;
  const std::string& follow = params.get_string("follow");
  options.turns = follow == "auto" ? speech : follow == "turns";
  HearOptions& hear = options.hear;
  const std::string& language = params.get_string("language");
  hear.language = language == "auto" ? "" : language;
  hear.translating = params.get_string("task") == "translate";
  hear.beam_size = static_cast<int>(params.get_int("beam_size"));
  hear.best_of = static_cast<int>(params.get_int("best_of"));
  hear.max_no_speech = params.get_double("max_no_speech");
  hear.prompt = params.get_string("prompt");
  options.previous_text = params.get_bool("previous_text");
  const std::string& window = params.get_string("exact_window");
  hear.exact_window = window == "auto" ? !options.turns : window == "on";
  const std::string& words = params.get_string("word_times");
  hear.word_times = words == "auto" ? !options.turns : words == "on";
  const std::string& tokens = params.get_string("time_tokens");
  hear.time_tokens = tokens == "auto" ? options.previous_text || !hear.word_times : tokens == "on";
  options.timestamps = params.get_bool("timestamps");
  options.partial_interval_s = params.get_double("partial_interval");
  options.live = params.get_string("clock") == "live";
  if (!params.get_bool("fallback"))
    hear.temperatures = {params.get_double("temperature")};
  else
    std::erase_if(hear.temperatures, [&](double t) { return t < params.get_double("temperature"); });
  return options;
}

double seconds(StreamTime time) { return std::chrono::duration<double>(time).count(); }

RecordingOptions recording_options(const TranscribeOptions& wanted) {
  RecordingOptions options;
  options.hear = wanted.hear;
  options.previous_text = wanted.previous_text;
  options.group = wanted.max_windows;
  options.rounds = wanted.saved;
  return options;
}

/// One run: who listens, and what was sent of the current text.
class TranscribeState final : public StageState {
 public:
  TranscribeState(const RecogniserInfo& info, const TranscribeOptions& wanted)
      : options(wanted), turn(info, TurnOptions{wanted.hear}), recording(info, recording_options(wanted)) {}

  void flush(std::uint64_t /*epoch*/) override { forget(); }
  void forget() {
    turn.clear();
    after_hearing = After::nothing;
    in_turn = heard_pause = sent = false;
    since_partial_s = 0;
  }
  std::vector<std::byte> save() const override {
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    turn.save(writer);
    recording.save(writer);
    writer.u8(static_cast<std::uint8_t>(after_hearing));
    for (const bool flag : {in_turn, heard_pause, sent, finished}) writer.boolean(flag);
    writer.u64(first);
    writer.u64(pause_index);
    writer.f64(since_partial_s);
    writer.f64(pcm_s);
    return saved;
  }
  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "audio/transcribe");
    turn.restore(reader);
    recording.restore(reader);
    const std::uint8_t after = reader.u8();
    if (after > static_cast<std::uint8_t>(After::end_of_input)) reader.fail("unknown reason to hear");
    after_hearing = static_cast<After>(after);
    for (bool* flag : {&in_turn, &heard_pause, &sent, &finished}) *flag = reader.boolean();
    first = reader.u64();
    pause_index = reader.u64();
    since_partial_s = reader.f64();
    pcm_s = reader.f64();
    reader.expect_end();
  }

  enum class After : std::uint8_t { nothing, partial, pause, end, end_of_input };

  TranscribeOptions options;
  TurnListener turn;
  RecordingListener recording;
  After after_hearing = After::nothing;  ///< turns: what is sent when the window under way is heard
  bool in_turn = false;
  bool heard_pause = false;  ///< the turn so far was heard at its last pause, and nothing was said since
  bool sent = false;         ///< the text has a packet already, `first`
  std::uint64_t first = 0, pause_index = 0;
  double since_partial_s = 0;
  // Recordings that come slowly: the unfinished window as heard so far.
  std::unique_ptr<HearingWindow> glimpse;
  double glimpsed_to_s = 0;
  std::string open_text;
  double pcm_s = 0;  ///< of sound without stream times of its own
  bool finished = false;
  double reported_encode_s = 0, reported_decode_s = 0;
  int reported_windows = 0, reported_tokens = 0, reported_again = 0, reported_unsure = 0;
};

using After = TranscribeState::After;

class Transcribe final : public Stage {
 public:
  /// `speech`: the input is audio/speech, with stream times and a detector's judgement.
  Transcribe(std::shared_ptr<const Recogniser> model, const RecogniserUse& use, bool speech)
      : model_(std::move(model)), session_(model_->open(use)), speech_(speech) {}

  std::unique_ptr<StageState> open(const OpenContext& context) const override {
    TranscribeOptions options = read_options(context.params, speech_);
    options.max_windows = session_->max_windows();
    options.hear.seed = context.seed;
    options.hear.strict = context.strict;
    options.saved = !context.segments.empty();
    try {
      model_->check(options.hear);
    } catch (const Error& error) {
      throw Error(error.code(), context.where + "/" + error.where(), error.message());
    }
    return std::make_unique<TranscribeState>(model_->info(), options);
  }

  /// All items' windows are heard together; an item sends when one of its own is done.
  void step(std::span<StepItem> batch) const override {
    const std::lock_guard lock(stepping_);
    std::vector<HearingWindow*> windows;
    std::vector<StepItem*> hearing;
    for (StepItem& item : batch) {
      const std::size_t before = windows.size();
      try {
        if (item.io->cancelled())
          throw Error(ErrorCode::cancelled, "hearing", "the transcription was stopped on request");
        item.status = prepare(static_cast<TranscribeState&>(*item.state), *item.io, windows);
      } catch (const Error& error) {  // an edge: it ends its own run only
        windows.resize(before);
        item.fail(error);
      }
      if (windows.size() > before) hearing.push_back(&item);
    }
    if (hearing.empty()) return;
    const auto stop = [&] {
      return std::any_of(hearing.begin(), hearing.end(),
                         [](const StepItem* item) { return item->io->should_yield() || item->io->cancelled(); });
    };
    try {
      session_->step(windows, stop);
    } catch (const Error& error) {  // an edge: of all that were heard together
      for (StepItem* item : hearing) item->fail(error);
      return;
    }
    for (StepItem* item : hearing) {
      auto& state = static_cast<TranscribeState&>(*item->state);
      conclude(state, *item->io);
      report(state, *item->io);
      item->status = state.finished ? StepStatus::done : StepStatus::ready;
    }
  }

 private:
  /// Takes what arrived; adds the windows that are to be heard, or says what it waits for.
  StepStatus prepare(TranscribeState& state, StageIo& io, std::vector<HearingWindow*>& windows) const {
    if (state.finished) return StepStatus::done;
    if (io.space(0) == 0) return StepStatus::output_full;
    return state.options.turns ? prepare_turns(state, io, windows) : prepare_recording(state, io, windows);
  }

  void conclude(TranscribeState& state, StageIo& io) const {
    if (state.options.turns)
      conclude_turn(state, io);
    else
      conclude_recording(state, io);
  }

  /// One packet's samples.
  static const AudioChunk& checked(const Packet& packet) {
    const AudioChunk& chunk = packet.as<AudioChunk>();
    if (chunk.rate_hz != 16000 || chunk.channels != 1)
      throw Error(ErrorCode::internal, "audio/transcribe",
                  fmt::format("expected 16000 Hz and one channel, found {} Hz and {}", chunk.rate_hz, chunk.channels));
    return chunk;
  }

  // ------------------------------------------------------------------------------------------------ recordings

  StepStatus prepare_recording(TranscribeState& state, StageIo& io, std::vector<HearingWindow*>& windows) const {
    RecordingListener& recording = state.recording;
    while (io.available(0) > 0 && recording.wants_input()) {
      const Packet packet = io.take(0);
      const AudioChunk& chunk = checked(packet);
      const double start_s = speech_ ? seconds(packet.time) : state.pcm_s;
      recording.push(chunk.samples, start_s, !speech_ || chunk.speech);
      state.pcm_s = start_s + static_cast<double>(chunk.n_frames()) / 16000.0;
    }
    if (io.ended(0)) recording.end();
    const bool live = !state.options.saved && seconds(io.clock()) > kLeastClock &&
                      recording.heard_to_s() < kLiveFactor * seconds(io.clock());
    const std::vector<HearingWindow*> open = recording.windows(*session_, live);
    windows.insert(windows.end(), open.begin(), open.end());
    if (!open.empty()) return StepStatus::ready;
    if (recording.finished()) {
      send_recording(state, io, TurnState::final);
      state.finished = true;
      return StepStatus::done;
    }
    if (!state.glimpse && live && io.available(0) == 0) begin_glimpse(state);
    if (state.glimpse) windows.push_back(state.glimpse.get());
    return io.available(0) > 0 && recording.wants_input() ? StepStatus::ready : StepStatus::need_input;
  }

  /// The unfinished window of a recording that comes slowly, as far as it is there.
  void begin_glimpse(TranscribeState& state) const {
    const double to_s = state.recording.heard_to_s();
    std::vector<float> sound = state.recording.open_samples();
    if (sound.size() < 16000 || to_s - state.glimpsed_to_s < state.options.partial_interval_s) return;
    state.glimpsed_to_s = to_s;
    HearOptions hear = state.options.hear;
    hear.temperatures.resize(1);
    hear.beam_size = 1;
    hear.word_times = false;
    hear.exact_window = false;
    if (hear.language.empty()) hear.language = state.recording.language();
    state.glimpse = session_->begin(std::move(sound), hear);
  }

  void conclude_recording(TranscribeState& state, StageIo& io) const {
    const bool grew = state.recording.collect();
    if (grew) {
      state.glimpse.reset();
      state.open_text.clear();
    }
    const bool glimpsed = state.glimpse && state.glimpse->done();
    if (glimpsed) {
      const Heard heard = state.glimpse->take();
      state.glimpse.reset();
      const bool wrong = heard.silent || heard.looped || heard.unsure;
      state.open_text = wrong ? std::string() : heard.text();
    }
    if (state.recording.finished()) {
      send_recording(state, io, TurnState::final);
      state.finished = true;
    } else if (grew || (glimpsed && !state.open_text.empty())) {
      send_recording(state, io, TurnState::partial);
    }
  }

  void send_recording(TranscribeState& state, StageIo& io, TurnState turn_state) const {
    const RecordingListener& recording = state.recording;
    const bool whole = turn_state == TurnState::final;
    auto text = std::make_shared<Text>();
    text->utf8 = text_of(recording.words());
    text->stable_bytes = text->utf8.size();
    if (!whole) text->utf8 += text->utf8.empty() ? trimmed(state.open_text) : state.open_text;
    text->language = recording.language();
    text->language_probability = static_cast<float>(recording.language_probability());
    // Times go with the whole text only: sent again after each window they would be most of the work of a long one.
    if (whole && state.options.timestamps) text->spans = spans_of(recording);
    text->turn_state = turn_state;
    if (whole)
      for (const GivenUp& lost : recording.given_up()) {
        log(LogLevel::warning, "audio/transcribe",
            fmt::format("no text was found for the speech from {:.1f} to {:.1f} s", lost.start_s, lost.end_s));
        io.lost(Loss::skipped, "second of speech", static_cast<std::uint64_t>(lost.end_s - lost.start_s) + 1);
      }
    push(state, io, std::move(text), recording.heard_to_s());
  }

  static std::string trimmed(const std::string& text) {
    const std::size_t start = text.find_first_not_of(' ');
    return start == std::string::npos ? std::string() : text.substr(start);
  }

  static std::vector<TextSpan> spans_of(const RecordingListener& recording) {
    std::vector<TextSpan> spans;
    const std::span<const HeardWord> words(recording.words());
    const auto& languages = recording.languages();
    for (std::size_t i = 0; i < languages.size(); ++i) {
      const std::size_t end = i + 1 < languages.size() ? languages[i + 1].first : words.size();
      std::vector<TextSpan> part =
          sentences(words.subspan(languages[i].first, end - languages[i].first), languages[i].language);
      std::move(part.begin(), part.end(), std::back_inserter(spans));
    }
    return spans;
  }

  // ----------------------------------------------------------------------------------------------------- turns

  /// Takes packets until one makes it hear: so a backlog of chunks costs one hearing.
  StepStatus prepare_turns(TranscribeState& state, StageIo& io, std::vector<HearingWindow*>& windows) const {
    while (state.after_hearing == After::nothing && io.available(0) > 0) {
      const Packet packet = io.take(0);
      const AudioChunk& chunk = checked(packet);
      state.turn.push(chunk.samples, chunk.speech);
      state.after_hearing = take_turn_chunk(state, io, chunk);
      if (state.after_hearing != After::nothing)
        state.turn.begin(*session_, state.after_hearing != After::partial);
      else if (io.space(0) == 0)
        return StepStatus::output_full;
    }
    if (state.after_hearing == After::nothing && io.ended(0)) {
      if (state.in_turn && !state.heard_pause) {
        state.after_hearing = After::end_of_input;
        state.turn.begin(*session_, true);
      } else {
        if (state.in_turn) end_turn(state, io);
        state.finished = true;
        return StepStatus::done;
      }
    }
    if (state.after_hearing == After::nothing) return StepStatus::need_input;
    if (state.turn.window() == nullptr)  // of a run that goes on
      state.turn.begin(*session_, state.after_hearing != After::partial);
    windows.push_back(state.turn.window());
    return StepStatus::ready;
  }

  /// Why it must hear now, if it must.
  After take_turn_chunk(TranscribeState& state, StageIo& io, const AudioChunk& chunk) const {
    if (chunk.marker == TurnMarker::speech_start && !state.in_turn) {
      state.in_turn = true;
      state.since_partial_s = 0;
    }
    if (!state.in_turn) {
      state.turn.keep_last(kLeadIn);
      return After::nothing;
    }
    if (chunk.marker == TurnMarker::resume || (chunk.speech && chunk.marker == TurnMarker::none))
      state.heard_pause = false;
    if (!state.options.live && chunk.marker != TurnMarker::end) return After::nothing;
    switch (chunk.marker) {
      case TurnMarker::pause:
        state.pause_index = chunk.pause_index;
        state.since_partial_s = 0;
        return After::pause;
      case TurnMarker::end:
        state.pause_index = chunk.pause_index;
        if (!state.heard_pause) return After::end;
        end_turn(state, io);
        return After::nothing;
      case TurnMarker::resume:
        // Nothing new was heard yet, but an answer that was begun at the pause is in vain: say so at once.
        if (state.sent) send_turn(state, io, TurnState::partial, 0);
        break;
      case TurnMarker::none:
      case TurnMarker::speech_start:
        break;
    }
    if (state.heard_pause) return After::nothing;
    state.since_partial_s += static_cast<double>(chunk.n_frames()) / 16000.0;
    // Not in a silence: it may be the pause at which the answer begins, and that must not wait for a partial text.
    if (state.since_partial_s < state.options.partial_interval_s || !chunk.speech) return After::nothing;
    state.since_partial_s = 0;
    return After::partial;
  }

  void conclude_turn(TranscribeState& state, StageIo& io) const {
    if (!state.turn.window()->done() || !state.turn.finish(*session_)) return;
    switch (std::exchange(state.after_hearing, After::nothing)) {
      case After::nothing:
        break;
      case After::partial:
        if (!state.turn.text().empty()) send_turn(state, io, TurnState::partial, 0);
        break;
      case After::pause:
        state.heard_pause = true;
        send_turn(state, io, TurnState::tentative, state.pause_index);
        break;
      case After::end:
        end_turn(state, io);
        break;
      case After::end_of_input:
        end_turn(state, io);
        state.finished = true;
        break;
    }
  }

  static void end_turn(TranscribeState& state, StageIo& io) {
    if (state.sent || !state.turn.text().empty()) send_turn(state, io, TurnState::final, state.pause_index);
    state.forget();
  }

  static void send_turn(TranscribeState& state, StageIo& io, TurnState turn_state, std::uint64_t pause_index) {
    auto text = std::make_shared<Text>();
    text->utf8 = state.turn.text();
    text->language = state.turn.language();
    text->language_probability = static_cast<float>(state.turn.language_probability());
    if (state.options.timestamps) text->spans = state.turn.spans();
    text->turn_state = turn_state;
    text->pause_index = pause_index;
    text->stable_bytes = turn_state == TurnState::partial ? state.turn.stable_bytes() : text->utf8.size();
    push(state, io, std::move(text), state.turn.heard_s());
  }

  // ------------------------------------------------------------------------------------------------------ both

  static void push(TranscribeState& state, StageIo& io, std::shared_ptr<Text> text, double at_s) {
    const auto time = std::chrono::duration_cast<StreamTime>(std::chrono::duration<double>(at_s));
    Packet packet = Packet::data<Text>(std::move(text), time);
    if (state.sent) {
      packet.kind = PacketKind::revise;
      packet.since = state.first;
    }
    const std::uint64_t sequence = io.push(0, std::move(packet));
    if (!state.sent) state.first = sequence;
    state.sent = true;
  }

  static void report(TranscribeState& state, StageIo& io) {
    const TurnListener::Stats& turn = state.turn.stats();
    const RecordingListener::Stats& recording = state.recording.stats();
    const auto tell = [&](const char* name, auto& before, auto now, double scale) {
      if (now != before) io.metric(name, scale * static_cast<double>(now - before));
      before = now;
    };
    tell("encode_ms", state.reported_encode_s, turn.encode_s + recording.encode_s, 1000.0);
    tell("decode_ms", state.reported_decode_s, turn.decode_s + recording.decode_s, 1000.0);
    tell("windows", state.reported_windows, turn.n_windows + recording.n_windows, 1.0);
    tell("tokens", state.reported_tokens, turn.n_tokens + recording.n_tokens, 1.0);
    tell("heard_again", state.reported_again, turn.n_again + recording.n_again, 1.0);
    tell("unsure_windows", state.reported_unsure, recording.n_unsure, 1.0);
  }

  std::shared_ptr<const Recogniser> model_;
  std::shared_ptr<RecogniserSession> session_;
  bool speech_;
  mutable std::mutex stepping_;
};

bool is_speech(std::span<const Format* const> inputs) {
  return !inputs.empty() && inputs[0] != nullptr && inputs[0]->type == "audio/speech";
}

/// Windows that a recording of this length has; what is heard together costs memory.
int windows_for(const Params& params, std::uint64_t source_bytes) {
  const auto most = static_cast<int>(params.get_int("batch"));
  if (source_bytes == 0) return most;
  const std::uint64_t windows = source_bytes / (4 * 16000 * 25) + 1;
  return static_cast<int>(std::min<std::uint64_t>(windows, static_cast<std::uint64_t>(most)));
}

StageSpec declare() {
  StageSpec spec;
  spec.name = "audio/transcribe";
  spec.help = "Writes down speech. Follows turns while someone speaks, or takes a whole recording.";
  const std::map<std::string, Constraint> fields{{"rate", Constraint::is(std::int64_t{16000})},
                                                 {"channels", Constraint::is(std::int64_t{1})}};
  spec.inputs = {{"audio", {{"audio/speech", fields}, {"audio/pcm", fields}}, "speech, 16 kHz mono"}};
  spec.outputs = {{"text", {{"text/turns", {}}}, "what was said, with times"}};
  const auto param = [&](std::string name, ParamType type, Value value, std::string help) -> ParamSpec& {
    spec.params.push_back({std::move(name), type, std::move(value), std::move(help)});
    return spec.params.back();
  };
  const auto bounded = [](ParamSpec& made, double min, double max) {
    made.min = min;
    made.max = max;
  };
  param("model", ParamType::string, std::string("whisper-base"), "a recogniser: name or folder");
  param("language", ParamType::string, std::string("auto"),
        "code of the language spoken (en, de, zh, ...), or auto: found, window by window");
  param("task", ParamType::string, std::string("transcribe"), "transcribe, or translate into English").choices = {
      "transcribe", "translate"};
  param("prompt", ParamType::string, std::string(), "names and terms that may occur, or a text in the style wanted");
  param("timestamps", ParamType::boolean, true, "give each sentence's time");
  param("time_tokens", ParamType::string, std::string("auto"),
        "the model writes times between the words; auto: where words get none by other means, or with previous_text")
      .choices = {"auto", "on", "off"};
  param("word_times", ParamType::string, std::string("auto"),
        "each word's time, by where the model looks; auto: for recordings")
      .choices = {"auto", "on", "off"};
  bounded(param("temperature", ParamType::number, 0.0, "of the first attempt; 0 takes the likeliest words"), 0.0, 1.0);
  bounded(param("beam_size", ParamType::integer, std::int64_t{5},
                "texts that are weighed against each other where speech is not clear; 1 never does"),
          1.0, 16.0);
  bounded(param("best_of", ParamType::integer, std::int64_t{5},
                "texts drawn at a temperature above 0, of which the likeliest is kept"),
          1.0, 16.0);
  param("fallback", ParamType::boolean, true, "try again with a higher temperature when a text looks wrong");
  param("previous_text", ParamType::boolean, false,
        "tell the model the text before; windows are then heard one after the other, which is slower");
  bounded(param("max_no_speech", ParamType::number, 0.6, "above this probability of no speech, unsure text is dropped"),
          0.0, 1.0);
  bounded(param("partial_interval", ParamType::number, 1.0, "seconds of speech between partial texts"), 0.2, 30.0);
  param("clock", ParamType::string, std::string("live"),
        "live: hear turns while they are spoken; stream: hear each once, when it is over (less work, for recordings)")
      .choices = {"live", "stream"};
  param("follow", ParamType::string, std::string("auto"),
        "a text for each turn, or one of the whole recording; auto: turns of audio/speech")
      .choices = {"auto", "turns", "recording"};
  param(
      "exact_window", ParamType::string, std::string("auto"),
      "hear in the length the model was trained on always (on), only what was said (off), or on for recordings (auto)")
      .choices = {"auto", "on", "off"};
  bounded(param("batch", ParamType::integer, std::int64_t{8}, "windows, of all runs, that are heard together at most"),
          1.0, 64.0);
  param("precision", ParamType::string, std::string("fast"), "exact keeps every weight in 32 bits").choices = {"fast",
                                                                                                               "exact"};
  for (ParamSpec& made : spec.params)
    if (made.name != "model" && made.name != "batch" && made.name != "precision") made.scope = ParamScope::run;
  spec.checkpointable = true;
  spec.load = StageLoad::heavy;
  spec.max_batch = 16;
  spec.devices = {"cpu", "cuda", "vulkan"};
  return spec;
}

}  // namespace

void register_transcribe(Registry& registry) {
  StageSpec spec = declare();
  const std::shared_ptr<const RecogniserFamilies> families = registry.part<RecogniserFamilies>();
  spec.estimate = [families](const ResolveContext& context) {
    const std::filesystem::path folder = context.find_model(context.params.get_string("model"));
    return families->find(folder).estimate(folder, context.device, context.params.get_string("precision") == "exact",
                                           windows_for(context.params, context.source_bytes),
                                           static_cast<int>(context.params.get_int("beam_size")));
  };
  spec.create = [families](const CreateContext& context) -> std::shared_ptr<const Stage> {
    const std::filesystem::path folder = context.find_model(context.params.get_string("model"));
    const RecogniserFamily& family = families->find(folder);
    static_cast<void>(family.describe(folder));  // what is missing is known before weights are read
    RecogniserLoad load{context.models, context.device, context.n_threads,
                        context.params.get_string("precision") == "exact",
                        [&](double fraction) { context.progress(fraction, family.name); }};
    const std::shared_ptr<const Recogniser> model = family.load(folder, load);
    const bool speech = is_speech(context.inputs);
    const RecogniserUse use{context.n_threads, static_cast<int>(context.params.get_int("batch"))};
    return std::make_shared<const Transcribe>(model, use, speech);
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
