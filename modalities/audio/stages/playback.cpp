// audio/playback: lets answers be heard when the turn they answer is over, and stops them when the speaker speaks
// again.
//
// Answers are prepared at every pause (epoch = pause_index); which pause ended the turn is known later. So audio of
// epoch p waits for the event end(p). A speech_start while an answer is heard drops the rest and sends `interrupted`
// upstream with the bytes of the answer that were heard. Two clocks say how much that was:
//   stream  an answer starts at the stream time of its end(p) and goes on with the input's stream time, so the outcome
//           depends on the input alone. Output: what was heard. It carries an epoch above all others: no flush takes it
//           back. Upstream is told that `heard` or `interrupted` will come for every answer (`reports_heard`), so that
//           the next turn is not answered before it is known what the speaker heard.
//   live    real time; audio goes out at most `ahead_s` before it is heard, an interruption flushes the output.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "morph/audio.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/turn_protocol.h"

namespace morph::audio {
namespace {

constexpr int kAudioPort = 0, kTurnsPort = 1;
constexpr std::uint64_t kHeardEpoch = std::uint64_t{1} << 62;

struct Answer {
  struct Piece {
    std::shared_ptr<const AudioChunk> chunk;
    std::uint64_t sequence = 0;
  };
  std::deque<Piece> waiting;
  std::int64_t n_waiting = 0;  ///< frames of `waiting` from `offset` on
  std::int64_t offset = 0;     ///< frames of the first piece that were sent
  std::int64_t n_sent = 0;
  bool complete = false;  ///< its last piece has come
  bool last_sent = false;
  std::vector<std::pair<std::int64_t, std::size_t>> spoken{{0, 0}};  ///< frames sent -> bytes of the answer

  /// Bytes of the answer that `n_frames` of it speak.
  std::size_t bytes_at(std::int64_t n_frames) const {
    for (std::size_t i = 1; i < spoken.size(); ++i) {
      if (n_frames >= spoken[i].first) continue;
      const auto [from, bytes] = spoken[i - 1];
      const double share = static_cast<double>(n_frames - from) / static_cast<double>(spoken[i].first - from);
      return bytes + static_cast<std::size_t>(std::max(0.0, share * static_cast<double>(spoken[i].second - bytes)));
    }
    return spoken.back().second;
  }
};

struct TurnEvent {
  enum class Kind : std::uint8_t { tick, speech_start, pause, resume, end } kind = Kind::tick;
  double time_s = 0;
  std::uint64_t pause_index = 0;
};

std::optional<TurnEvent> parse_event(const EventPayload& event) {
  for (std::size_t i = 0; i < turns::kEvents.size(); ++i) {
    if (event.name != turns::kEvents[i]) continue;
    TurnEvent parsed;
    parsed.kind = static_cast<TurnEvent::Kind>(i);
    parsed.time_s = event.values.get_double(turns::kTime);
    if (parsed.kind >= TurnEvent::Kind::pause)
      parsed.pause_index = static_cast<std::uint64_t>(event.values.get_int(turns::kPauseIndex));
    return parsed;
  }
  return std::nullopt;
}

struct PlaybackState final : StageState {
  std::map<std::uint64_t, Answer> answers;  ///< by epoch
  std::deque<TurnEvent> events;             ///< not yet acted on; ticks in a row are one
  std::uint64_t first_alive = 0;            ///< answers of lower epochs are dropped
  std::optional<std::uint64_t> playing;     ///< a confirmed answer
  double start_s = 0;                       ///< stream clock: when it began
  double now_s = 0;                         ///< stream clock
  double sent_until_s = 0;                  ///< live clock: when what was sent will have been heard
  bool announced = false;                   ///< stream clock: `reports_heard` was sent
  bool wait_for_whole = false;  ///< an interruption was reported: the next answer may be made anew until it is whole
  std::int64_t n_out = 0;       ///< frames sent

  void flush(std::uint64_t epoch) override {
    for (auto it = answers.begin(); it != answers.end();)
      it = it->first < epoch && playing != it->first ? answers.erase(it) : std::next(it);
  }
  void drop_below(std::uint64_t epoch) {
    first_alive = std::max(first_alive, epoch);
    answers.erase(answers.begin(), answers.lower_bound(first_alive));
    if (playing && *playing < first_alive) playing.reset();
  }
};

class Playback final : public SimpleStage<PlaybackState> {
 public:
  struct Settings {
    int rate_hz = 0, channels = 1;
    bool live = false, gaps = false;
    double ahead_s = 0.2;
  };
  explicit Playback(const Settings& settings) : settings_(settings) {}

  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<PlaybackState>(); }

  StepStatus step_one(PlaybackState& state, StageIo& io) const override {
    if (!io.connected_input(kTurnsPort)) return pass(io);
    if (!settings_.live && !state.announced) {
      state.announced = true;
      send_control(io, turns::kReportsHeard, 0, 0, 0);
    }
    // Both inputs are always taken: nobody upstream waits for what is held here.
    bool took = take_audio(state, io);
    took = take_events(state, io) || took;
    bool sent = false;
    while (!state.events.empty()) {
      if (io.space(0) == 0) return StepStatus::output_full;
      if (!act(state, io)) break;
      sent = true;
    }
    if (io.space(0) == 0) return StepStatus::output_full;
    sent = release(state, io) || sent;
    if (took || sent) return StepStatus::ready;
    return io.ended(kAudioPort) && io.ended(kTurnsPort) ? StepStatus::done : StepStatus::need_input;
  }

 private:
  static StepStatus pass(StageIo& io) {
    if (io.space(0) == 0) return StepStatus::output_full;
    if (io.available(kAudioPort) == 0) return io.ended(kAudioPort) ? StepStatus::done : StepStatus::need_input;
    io.push(0, io.take(kAudioPort));
    return StepStatus::ready;
  }

  bool take_audio(PlaybackState& state, StageIo& io) const {
    if (io.available(kAudioPort) == 0) return false;
    while (io.available(kAudioPort) > 0) {
      const Packet packet = io.take(kAudioPort);
      const auto chunk = packet.share<AudioChunk>();
      if (!chunk || chunk->rate_hz != settings_.rate_hz || chunk->channels != settings_.channels)
        throw Error(ErrorCode::internal, "audio/playback",
                    fmt::format("expected audio at {} Hz with {} channels as negotiated, found something else",
                                settings_.rate_hz, settings_.channels));
      if (packet.kind == PacketKind::revise) take_back(state, packet.since);
      if (packet.epoch < state.first_alive) continue;
      Answer& answer = state.answers[packet.epoch];
      answer.waiting.push_back({chunk, packet.sequence});
      answer.n_waiting += static_cast<std::int64_t>(chunk->n_frames());
      answer.complete = answer.complete || chunk->last_of_answer;
    }
    return true;
  }

  static void take_back(PlaybackState& state, std::uint64_t since) {
    for (auto& [epoch, answer] : state.answers) {
      while (!answer.waiting.empty() && answer.waiting.back().sequence >= since) {
        const bool begun = answer.waiting.size() == 1;
        answer.n_waiting -=
            static_cast<std::int64_t>(answer.waiting.back().chunk->n_frames()) - (begun ? answer.offset : 0);
        if (begun) answer.offset = 0;
        if (answer.waiting.back().chunk->last_of_answer) answer.complete = false;
        answer.waiting.pop_back();
      }
    }
  }

  static bool take_events(PlaybackState& state, StageIo& io) {
    if (io.available(kTurnsPort) == 0) return false;
    while (io.available(kTurnsPort) > 0) {
      const Packet packet = io.take(kTurnsPort);
      const std::optional<TurnEvent> event = parse_event(packet.as<EventPayload>());
      if (!event) continue;  // other happenings are not ours
      const bool ticks = event->kind == TurnEvent::Kind::tick && !state.events.empty() &&
                         state.events.back().kind == TurnEvent::Kind::tick;
      if (ticks) state.events.pop_back();
      state.events.push_back(*event);
    }
    return true;
  }

  /// Acts on the first event; false when that has to wait for audio.
  bool act(PlaybackState& state, StageIo& io) const {
    const TurnEvent event = state.events.front();
    if (event.kind == TurnEvent::Kind::speech_start && state.playing) {
      if (settings_.live)
        interrupt_live(state, io);
      else if (!interrupt_stream(state, io, event.time_s))
        return false;
    }
    state.events.pop_front();
    state.now_s = std::max(state.now_s, event.time_s);
    if (event.kind == TurnEvent::Kind::resume) state.drop_below(event.pause_index + 1);
    if (event.kind == TurnEvent::Kind::end) {
      if (state.playing && !settings_.live) heard_whole(state, io, event.time_s);
      state.drop_below(event.pause_index);
      state.playing = event.pause_index;
      state.start_s = event.time_s;
      state.sent_until_s = 0;
    }
    return true;
  }

  /// Whether nothing more can come for the answer that is played.
  static bool whole(const PlaybackState& state, const StageIo& io) {
    const auto found = state.answers.find(*state.playing);
    return (found != state.answers.end() && found->second.complete) || io.ended(kAudioPort) ||
           state.answers.upper_bound(*state.playing) != state.answers.end();
  }

  bool interrupt_stream(PlaybackState& state, StageIo& io, double time_s) const {
    const auto limit = static_cast<std::int64_t>(std::llround((time_s - state.start_s) * settings_.rate_hz));
    Answer& answer = state.answers[*state.playing];
    const std::int64_t n_there = answer.n_sent + answer.n_waiting;
    const bool is_whole = whole(state, io);
    if (n_there < limit && !is_whole) return false;  // how much would have been heard is not known yet
    send_up_to(state, io, answer, limit);
    if (n_there <= limit && is_whole) {
      heard_whole(state, io, time_s);
      state.drop_below(*state.playing + 1);
      return true;
    }
    report(state, io, answer.bytes_at(answer.n_sent), time_s);
    state.wait_for_whole = true;
    state.drop_below(*state.playing + 1);
    return true;
  }

  void interrupt_live(PlaybackState& state, StageIo& io) const {
    const double now = seconds(io.clock());
    const Answer& answer = state.answers[*state.playing];
    const double unheard_s = std::max(0.0, state.sent_until_s - now);
    if (answer.last_sent && unheard_s == 0.0) {
      state.drop_below(*state.playing + 1);
      return;
    }
    const auto unheard = static_cast<std::int64_t>(unheard_s * settings_.rate_hz);
    report(state, io, answer.bytes_at(std::max<std::int64_t>(0, answer.n_sent - unheard)), now);
    const std::uint64_t next = *state.playing + 1;
    state.drop_below(next);
    io.push(0, Packet::flush(next));
  }

  static void report(const PlaybackState& state, StageIo& io, std::size_t heard_bytes, double time_s) {
    send_control(io, turns::kInterrupted, *state.playing, heard_bytes, time_s);
    io.metric("interruptions", 1);
  }

  static void heard_whole(const PlaybackState& state, StageIo& io, double time_s) {
    const auto found = state.answers.find(*state.playing);
    const std::size_t bytes = found == state.answers.end() ? 0 : found->second.spoken.back().second;
    send_control(io, turns::kHeard, *state.playing, bytes, time_s);
  }

  static void send_control(StageIo& io, std::string_view name, std::uint64_t epoch, std::size_t heard_bytes,
                           double time_s) {
    ControlEvent event;
    event.name = name;
    event.epoch = epoch;
    event.time = StreamTime(static_cast<std::int64_t>(time_s * 1e9));
    event.values.set(std::string(turns::kHeardBytes), static_cast<std::int64_t>(heard_bytes));
    io.send_control(std::move(event));
  }

  /// Sends what may be heard by now.
  bool release(PlaybackState& state, StageIo& io) const {
    if (!state.playing) return false;
    const auto found = state.answers.find(*state.playing);
    if (found == state.answers.end()) return false;
    Answer& answer = found->second;
    const bool waits_for_turns = !io.ended(kTurnsPort) || !state.events.empty();
    std::int64_t limit = answer.n_sent + answer.n_waiting;
    if (settings_.live && waits_for_turns) {
      const double now = seconds(io.clock());
      state.sent_until_s = std::max(state.sent_until_s, now);
      const double room_s = now + settings_.ahead_s - state.sent_until_s;
      limit = answer.n_sent + static_cast<std::int64_t>(std::floor(std::max(0.0, room_s) * settings_.rate_hz));
    } else if (!settings_.live) {
      if (state.wait_for_whole && !whole(state, io)) return false;
      if (waits_for_turns)
        limit = static_cast<std::int64_t>(std::floor((state.now_s - state.start_s) * settings_.rate_hz));
    }
    return send_up_to(state, io, answer, limit);
  }

  /// Sends frames of the answer until `limit` of them are out.
  bool send_up_to(PlaybackState& state, StageIo& io, Answer& answer, std::int64_t limit) const {
    bool sent = false;
    while (!answer.waiting.empty()) {
      const AudioChunk& from = *answer.waiting.front().chunk;
      const auto n_left = static_cast<std::int64_t>(from.n_frames()) - answer.offset;
      const std::int64_t n = std::min(n_left, limit - answer.n_sent);
      if (n <= 0 && n_left > 0) break;
      if (answer.n_sent == 0 && settings_.gaps && !settings_.live) fill_gap(state, io);
      send(state, io, answer, from, n);
      if (n == n_left) {
        answer.waiting.pop_front();
        answer.offset = 0;
      } else {
        answer.offset += n;
      }
      sent = true;
    }
    return sent;
  }

  void send(PlaybackState& state, StageIo& io, Answer& answer, const AudioChunk& from, std::int64_t n) const {
    const auto channels = static_cast<std::int64_t>(settings_.channels);
    const auto n_frames = static_cast<std::int64_t>(from.n_frames());
    if (answer.offset == 0 && from.answer_end >= answer.spoken.back().second)
      answer.spoken.emplace_back(answer.n_sent + n_frames, from.answer_end);
    auto chunk = std::make_shared<AudioChunk>();
    chunk->rate_hz = settings_.rate_hz;
    chunk->channels = settings_.channels;
    chunk->speech = from.speech;
    const auto begin = from.samples.begin() + answer.offset * channels;
    chunk->samples.assign(begin, begin + n * channels);
    answer.n_sent += n;
    answer.n_waiting -= n;
    answer.last_sent = from.last_of_answer && answer.offset + n == n_frames;
    chunk->last_of_answer = answer.last_sent;
    chunk->answer_end = answer.bytes_at(answer.n_sent);
    state.sent_until_s += static_cast<double>(n) / settings_.rate_hz;
    push(state, io, std::move(chunk));
  }

  /// Silence until the answer begins, so that the output runs beside the input.
  void fill_gap(PlaybackState& state, StageIo& io) const {
    const auto start = static_cast<std::int64_t>(std::llround(state.start_s * settings_.rate_hz));
    while (state.n_out < start) {
      auto chunk = std::make_shared<AudioChunk>();
      chunk->rate_hz = settings_.rate_hz;
      chunk->channels = settings_.channels;
      const std::int64_t n = std::min<std::int64_t>(start - state.n_out, settings_.rate_hz);
      chunk->samples.resize(static_cast<std::size_t>(n * settings_.channels));
      push(state, io, std::move(chunk));
    }
  }

  void push(PlaybackState& state, StageIo& io, std::shared_ptr<AudioChunk> chunk) const {
    const auto n = static_cast<std::int64_t>(chunk->n_frames());
    Packet packet = Packet::data<AudioChunk>(std::move(chunk), time_of(state.n_out), time_of(n));
    packet.epoch = settings_.live ? state.playing.value_or(0) : kHeardEpoch;
    state.n_out += n;
    io.push(0, std::move(packet));
  }

  StreamTime time_of(std::int64_t n) const {
    return StreamTime(n / settings_.rate_hz * 1000000000 + n % settings_.rate_hz * 1000000000 / settings_.rate_hz);
  }
  static double seconds(StreamTime time) { return static_cast<double>(time.count()) * 1e-9; }

  Settings settings_;
};

}  // namespace

void register_playback(Registry& registry) {
  StageSpec spec;
  spec.name = "audio/playback";
  spec.help = "Lets spoken answers be heard once their turn is over, and stops them when the speaker goes on.";
  spec.inputs = {{"audio", {{"audio/pcm", {}}}, "speech made from answers; its epoch is the pause that it answers"},
                 {"turns", {{"event", {}}}, "of audio/voice_activity; without it everything passes", true}};
  spec.outputs = {{"audio", {{"audio/pcm", {}}}, "what is heard"}};
  spec.params = {{.name = "clock",
                  .type = ParamType::string,
                  .default_value = std::string("stream"),
                  .help = "stream: the input's own time, same result every time; live: real time, for microphones",
                  .choices = {"stream", "live"}},
                 {.name = "ahead_s",
                  .type = ParamType::number,
                  .default_value = 0.2,
                  .help = "live: how long before it is heard audio may be sent",
                  .min = 0.01,
                  .max = 10},
                 {.name = "gaps",
                  .type = ParamType::boolean,
                  .default_value = false,
                  .help = "stream: silence between answers, so that the output runs beside the input"}};
  spec.resolve = [](const ResolveContext& context) {
    const Format& in = *context.inputs[0];
    return std::vector<std::vector<FormatPattern>>{{exactly(in)}};
  };
  spec.estimate = [](const ResolveContext&) {
    Estimate estimate;
    estimate.session = 8u << 20;  // a minute of 24 kHz speech that waits
    return estimate;
  };
  spec.create = [](const CreateContext& context) -> std::shared_ptr<const Stage> {
    Playback::Settings settings;
    settings.rate_hz = static_cast<int>(context.inputs[0]->get_int("rate"));
    settings.channels = static_cast<int>(context.inputs[0]->get_int("channels"));
    settings.live = context.params.get_string("clock") == "live";
    settings.gaps = context.params.get_bool("gaps");
    settings.ahead_s = context.params.get_double("ahead_s");
    return std::make_shared<const Playback>(settings);
  };
  registry.add_stage(std::move(spec));
}

}  // namespace morph::audio
