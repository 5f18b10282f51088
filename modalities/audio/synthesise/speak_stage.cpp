// One utterance per step: normalise, cut, phonemes, voice, shape, chunks.
#include "synthesise/speak_stage.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>

#include "audio_payload.h"
#include "exec/wire.h"
#include "morph/audio.h"
#include "morph/error.h"
#include "morph/speech_text.h"
#include "morph/text.h"
#include "synthesise/phonemes.h"
#include "synthesise/shaping.h"

namespace morph::audio {
namespace {

constexpr double kChunkSeconds = 0.1;
constexpr std::size_t kMaxTextBytes = 64u << 20;
constexpr std::size_t kMostRevisable = 4096;  ///< texts

struct SpeakParams {
  SpeakOptions options;
  std::int64_t seed = 0;
  double pause_ms = 250;

  explicit SpeakParams(const Params& params) {
    options.speed = params.get_double("speed");
    if (params.has("noise")) options.noise = params.get_double("noise");
    if (params.has("noise_timing")) options.noise_timing = params.get_double("noise_timing");
    options.speaker = params.get_string("speaker");
    seed = params.get_int("seed");
    pause_ms = params.get_double("pause_ms");
  }
};

/// An utterance that waits to be spoken, with the part of the answer that it covers.
struct Pending {
  Utterance utterance;
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;  ///< of the text it came from
  std::size_t answer_begin = 0, answer_end = 0;
  bool last_of_answer = false;
  bool nothing = false;  ///< only says that an answer ended
};

struct Spoken {
  Packet packet;
  std::uint64_t text = 0;  ///< sequence of the text that it speaks
};

struct SpeakState final : StageState {
  SpeakState(std::string_view language, const Params& all) : given(all), params(all), normalise(language) {}
  Params given;
  SpeakParams params;
  text::SpeechNormaliser normalise;
  std::deque<Pending> waiting;
  std::deque<Spoken> chunks;                                 ///< made, not yet sent
  std::deque<std::pair<std::uint64_t, std::uint64_t>> sent;  ///< text -> its first chunk, of the texts that came last
  std::optional<std::uint64_t> revises;                      ///< the next chunk supersedes what was sent since
  std::uint64_t n_frames_made = 0;
  std::size_t n_spoken = 0;  ///< utterances
  double pause_ms = 0;       ///< owed before the next utterance
  std::uint64_t pause_epoch = 0;

  void flush(std::uint64_t epoch) override {
    std::erase_if(waiting, [&](const Pending& pending) { return pending.epoch < epoch; });
    std::erase_if(chunks, [&](const Spoken& chunk) { return chunk.packet.epoch < epoch; });
  }

  /// Takes back what was made of the texts since `text`: what waits is dropped, the next chunk supersedes what was
  /// sent.
  void take_back(std::uint64_t text) {
    std::erase_if(waiting, [&](const Pending& pending) { return pending.sequence >= text; });
    std::erase_if(chunks, [&](const Spoken& chunk) { return chunk.text >= text; });
    for (; !sent.empty() && sent.back().first >= text; sent.pop_back()) {
      revises = sent.back().second;
      pause_ms = 0;
    }
  }

  std::vector<std::byte> save() const override {
    std::vector<std::byte> saved;
    wire::Writer writer(saved);
    writer.u32(static_cast<std::uint32_t>(waiting.size()));
    for (const Pending& pending : waiting) {
      writer.string(pending.utterance.text);
      writer.u64(pending.utterance.end);
      writer.boolean(pending.utterance.sentence_end);
      writer.u64(pending.epoch);
      writer.u64(pending.sequence);
      writer.u64(pending.answer_begin);
      writer.u64(pending.answer_end);
      writer.boolean(pending.last_of_answer);
      writer.boolean(pending.nothing);
    }
    writer.u32(static_cast<std::uint32_t>(chunks.size()));
    for (const Spoken& chunk : chunks) {
      std::vector<std::byte> body;
      chunk.packet.payload->encode(body);
      writer.bytes(body);
      writer.u64(chunk.packet.epoch);
      writer.i64(chunk.packet.time.count());
      writer.i64(chunk.packet.duration.count());
      writer.u64(chunk.text);
    }
    writer.u32(static_cast<std::uint32_t>(sent.size()));
    for (const auto& [text, first] : sent) {
      writer.u64(text);
      writer.u64(first);
    }
    writer.optional(revises);
    writer.u64(n_frames_made);
    writer.u64(n_spoken);
    writer.f64(pause_ms);
    writer.u64(pause_epoch);
    return saved;
  }

  void restore(std::span<const std::byte> saved) override {
    wire::Reader reader(saved, "audio/speak");
    waiting.resize(reader.count(reader.u32(), 47));
    for (Pending& pending : waiting) {
      pending.utterance.text = reader.string();
      pending.utterance.end = static_cast<std::size_t>(reader.u64());
      pending.utterance.sentence_end = reader.boolean();
      pending.epoch = reader.u64();
      pending.sequence = reader.u64();
      pending.answer_begin = static_cast<std::size_t>(reader.u64());
      pending.answer_end = static_cast<std::size_t>(reader.u64());
      pending.last_of_answer = reader.boolean();
      pending.nothing = reader.boolean();
    }
    chunks.resize(reader.count(reader.u32(), 40));
    for (Spoken& chunk : chunks) {
      chunk.packet.payload = decode_audio(reader.bytes());
      chunk.packet.epoch = reader.u64();
      chunk.packet.time = StreamTime(reader.i64());
      chunk.packet.duration = StreamTime(reader.i64());
      chunk.text = reader.u64();
    }
    sent.resize(reader.count(reader.u32(), 16));
    for (auto& [text, first] : sent) {
      text = reader.u64();
      first = reader.u64();
    }
    revises = reader.optional();
    n_frames_made = reader.u64();
    n_spoken = static_cast<std::size_t>(reader.u64());
    pause_ms = reader.f64();
    pause_epoch = reader.u64();
    reader.expect_end();
  }

  void send_first(StageIo& io) {
    Spoken chunk = std::move(chunks.front());
    chunks.pop_front();
    if (revises) {
      chunk.packet.kind = PacketKind::revise;
      chunk.packet.since = *revises;
      revises.reset();
    }
    const std::uint64_t sequence = io.push(0, std::move(chunk.packet));
    if (!sent.empty() && sent.back().first == chunk.text) return;
    sent.emplace_back(chunk.text, sequence);
    if (sent.size() > kMostRevisable) sent.pop_front();
  }
};

/// FNV-1a over the tokens and the seeds: the same words of the same run sound the same whenever they are spoken.
std::uint64_t noise_seed(const std::vector<std::int64_t>& ids, std::uint64_t run_seed, std::int64_t seed) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  const auto add = [&hash](std::uint64_t value) {
    for (int i = 0; i < 8; ++i, value >>= 8) hash = (hash ^ (value & 0xff)) * 0x100000001b3ull;
  };
  add(run_seed);
  add(static_cast<std::uint64_t>(seed));
  for (std::int64_t id : ids) add(static_cast<std::uint64_t>(id));
  return hash;
}

/// Pause after an utterance, as a share of the parameter pause_ms: a sentence, a clause, a cut in mid-clause.
double pause_share(const std::string& text) {
  switch (text.empty() ? ' ' : text.back()) {
    case '.':
    case '!':
    case '?':
      return 1.0;
    case ';':
    case ':':
      return 0.7;
    case ',':
      return 0.5;
    default:
      return 0.2;
  }
}

class SpeakStage final : public SimpleStage<SpeakState> {
 public:
  explicit SpeakStage(std::shared_ptr<const Voice> voice) : voice_(std::move(voice)) {}

  void warm_up() const {
    VoiceTokens tokens = voice_->tokens(ipa_of("Hello there."));
    if (tokens.n_spoken > 0) voice_->speak(tokens, {});
  }

  std::unique_ptr<StageState> open(const OpenContext& context) const override {
    auto state = std::make_unique<SpeakState>(voice_->info().language, context.params);
    speaker_index(voice_->info(), state->params.options.speaker, 0);
    return state;
  }

  StepStatus step_one(SpeakState& state, StageIo& io) const override {
    take_params(state, io);
    while (!state.chunks.empty()) {
      if (io.space(0) == 0) return StepStatus::output_full;
      state.send_first(io);
    }
    if (!state.waiting.empty()) {
      const Pending pending = std::move(state.waiting.front());
      state.waiting.pop_front();
      speak(pending, state, io);
      ++state.n_spoken;
      if (io.ended(0))  // only now it is known how much there is
        io.progress(static_cast<double>(state.n_spoken) / static_cast<double>(state.n_spoken + state.waiting.size()),
                    "speaking");
      return StepStatus::ready;
    }
    if (io.available(0) > 0) {
      prepare(io.take(0), state, io);
      return StepStatus::ready;
    }
    return io.ended(0) ? StepStatus::done : StepStatus::need_input;
  }

 private:
  /// What Run::set_params changed counts from the next utterance on.
  void take_params(SpeakState& state, StageIo& io) const {
    while (const std::optional<ControlEvent> event = io.next_control()) {
      if (event->name != kParamsChanged) continue;
      for (const auto& [name, value] : event->values.values()) state.given.set(name, value);
      const SpeakParams changed(state.given);
      speaker_index(voice_->info(), changed.options.speaker, 0);
      state.params = changed;
    }
  }

  std::string ipa_of(const std::string& text) const {
    const std::string& voice = voice_->info().espeak_voice;
    return voice.empty() ? text : sentence_ipa(espeak_, text, voice);
  }

  /// Cuts a text into utterances.
  void prepare(const Packet& packet, SpeakState& state, StageIo& io) const {
    const Text& text = packet.as<Text>();
    if (packet.kind == PacketKind::revise) state.take_back(packet.since);
    if (text.turn_state != TurnState::final) {
      io.metric("unfinished_texts_skipped", 1);
      return;
    }
    if (text.utf8.size() > kMaxTextBytes)
      throw Error(ErrorCode::resource, "audio/speak/text",
                  "expected at most 64 MB in one text, found " + std::to_string(text.utf8.size()) + " bytes; split it");
    const std::string speakable = state.normalise(text.utf8);
    std::vector<Utterance> utterances = split_utterances(speakable, voice_->info().max_chars);
    const std::size_t n_bytes = std::min(text.utf8.size(), text.answer_end);
    const std::size_t begin = text.answer_end - n_bytes;
    std::size_t from = begin;
    for (Utterance& utterance : utterances) {
      Pending pending;
      pending.epoch = packet.epoch;
      pending.sequence = packet.sequence;
      pending.answer_begin = from;
      from = begin + static_cast<std::size_t>(static_cast<double>(n_bytes) * static_cast<double>(utterance.end) /
                                              static_cast<double>(speakable.size()));
      pending.answer_end = from;
      pending.utterance = std::move(utterance);
      state.waiting.push_back(std::move(pending));
    }
    if (utterances.empty()) {
      io.metric("texts_without_speech", 1);
      if (!text.last_of_answer) return;
      Pending pending;
      pending.epoch = packet.epoch;
      pending.sequence = packet.sequence;
      pending.nothing = true;
      state.waiting.push_back(std::move(pending));
    }
    state.waiting.back().answer_end = text.answer_end;
    state.waiting.back().last_of_answer = text.last_of_answer;
  }

  std::vector<float> synthesise(const Pending& pending, const SpeakParams& params, StageIo& io) const {
    if (pending.nothing) return {};
    const std::string& text = pending.utterance.text;
    const VoiceInfo& info = voice_->info();
    const VoiceTokens tokens = voice_->tokens(ipa_of(text));
    if (tokens.n_skipped > 0) {
      io.metric("phonemes_skipped", static_cast<double>(tokens.n_skipped));
      io.lost(Loss::skipped, "phoneme", tokens.n_skipped);
    }
    if (tokens.n_spoken == 0) {
      io.metric("utterances_without_speech", 1);
      return {};
    }
    SpeakOptions options = params.options;
    options.seed = noise_seed(tokens.ids, io.seed(), params.seed);
    std::vector<float> samples = voice_->speak(tokens, options);
    for (float sample : samples)
      if (!std::isfinite(sample))
        throw Error(ErrorCode::internal, "audio/speak",
                    "the voice " + info.folder.filename().string() + " produced a number that is not finite for \"" +
                        text + "\"");
    shape_utterance(samples, info.rate_hz);
    io.metric("utterances", 1);
    io.metric("speech_s", static_cast<double>(samples.size()) / info.rate_hz);
    return samples;
  }

  void speak(const Pending& pending, SpeakState& state, StageIo& io) const {
    const std::vector<float> samples = synthesise(pending, state.params, io);
    const int rate_hz = voice_->info().rate_hz;
    std::size_t n_pause = 0;
    if (!samples.empty() && state.pause_epoch == pending.epoch)
      n_pause = static_cast<std::size_t>(state.pause_ms * rate_hz / 1000.0);
    if (!samples.empty()) {
      state.pause_ms = state.params.pause_ms * pause_share(pending.utterance.text);
      state.pause_epoch = pending.epoch;
      if (pending.last_of_answer) state.pause_ms = state.params.pause_ms;
    }
    if (samples.empty() && !pending.last_of_answer) return;
    const std::size_t n_frames = n_pause + samples.size();
    const std::size_t n_chunk = static_cast<std::size_t>(kChunkSeconds * rate_hz);
    for (std::size_t at = 0; at < n_frames || (at == 0 && n_frames == 0); at += n_chunk) {
      std::size_t end = std::min(n_frames, at + n_chunk);
      if (n_frames - end < n_chunk / 2) end = n_frames;  // no crumbs
      auto chunk = std::make_shared<AudioChunk>();
      chunk->rate_hz = rate_hz;
      chunk->channels = 1;
      chunk->samples.resize(end - at, 0.0f);
      for (std::size_t i = std::max(at, n_pause); i < end; ++i) chunk->samples[i - at] = samples[i - n_pause];
      const double share = n_frames == 0 ? 1.0 : static_cast<double>(end) / static_cast<double>(n_frames);
      const auto n_bytes = static_cast<double>(pending.answer_end - pending.answer_begin);
      chunk->answer_end =
          end == n_frames ? pending.answer_end : pending.answer_begin + static_cast<std::size_t>(n_bytes * share);
      chunk->last_of_answer = pending.last_of_answer && end == n_frames;
      chunk->speech = end > n_pause;
      Packet packet = Packet::data<AudioChunk>(std::move(chunk), time_of(state.n_frames_made), time_of(end - at));
      packet.epoch = pending.epoch;
      state.n_frames_made += end - at;
      state.chunks.push_back({std::move(packet), pending.sequence});
      if (end == n_frames) break;
    }
  }

  StreamTime time_of(std::uint64_t n_frames) const {
    return StreamTime(
        static_cast<std::int64_t>(n_frames * 1000000000ull / static_cast<std::uint64_t>(voice_->info().rate_hz)));
  }

  std::shared_ptr<const Voice> voice_;
  EspeakProgram espeak_;
};

}  // namespace

std::shared_ptr<const Stage> make_speak_stage(std::shared_ptr<const Voice> voice) {
  auto stage = std::make_shared<SpeakStage>(std::move(voice));
  stage->warm_up();
  return stage;
}

}  // namespace morph::audio
