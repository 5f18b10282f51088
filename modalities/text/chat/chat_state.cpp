// See chat_state.h.
#include "chat/chat_state.h"

#include <algorithm>
#include <utility>

#include "base/mixed_bits.h"
#include "exec/wire.h"
#include "morph/log.h"
#include "morph/turn_protocol.h"
#include "text_payload.h"
#include "utf8.h"

namespace morph::text {
namespace {

constexpr std::size_t kMostWaitingTurns = 4;
constexpr std::size_t kLeastAhead = 4;  ///< tokens worth a decode of their own

std::uint32_t mixed_seed(std::uint64_t seed, std::uint64_t n) {
  return static_cast<std::uint32_t>(mixed_bits(seed + kMixedStep * (n + 1)));
}

bool blank(const std::string& text) { return text.find_first_not_of(" \t\r\n") == std::string::npos; }

}  // namespace

ChatOptions ChatOptions::of(const Params& params, bool strict) {
  ChatOptions options;
  options.system = params.get_string("system");
  options.max_tokens = static_cast<int>(params.get_int("max_tokens"));
  options.history = params.get_bool("history");
  options.strict = strict || params.get_bool("strict");
  options.speculate = params.get_bool("speculate") && !options.strict;
  options.sampler.temperature = static_cast<float>(params.get_double("temperature"));
  options.sampler.top_k = static_cast<int>(params.get_int("top_k"));
  options.sampler.top_p = static_cast<float>(params.get_double("top_p"));
  options.sampler.min_p = static_cast<float>(params.get_double("min_p"));
  options.sampler.repeat_penalty = static_cast<float>(params.get_double("repeat_penalty"));
  options.sampler.seed = static_cast<std::uint32_t>(params.get_int("seed"));
  options.overflow =
      params.get_string("overflow") == "error" ? Conversation::Overflow::error : Conversation::Overflow::drop_oldest;
  return options;
}

ChatState::ChatState(std::shared_ptr<Conversation> conversation, const ChatOptions& options, const OpenContext& context)
    : params_(context.params),
      run_is_strict_(context.strict),
      options_(options),
      sampler_(conversation->trunk().make_sampler(options.sampler)),
      seed_(context.seed + options.sampler.seed),
      n_dropped_(conversation->n_dropped()) {
  conversation_ = std::move(conversation);
}

ChatState::~ChatState() { conversation_->release(); }

/// What Run::set_params changed counts from the next answer on.
void ChatState::apply_params() {
  if (!std::exchange(params_changed_, false)) return;
  const std::uint64_t run_seed = seed_ - options_.sampler.seed;
  options_ = ChatOptions::of(params_, run_is_strict_);
  seed_ = run_seed + options_.sampler.seed;
  sampler_ = trunk().make_sampler(options_.sampler);
  conversation_->set_options(options_.conversation());
}

void ChatState::flush(std::uint64_t epoch) {
  // Our own flushes come back here too: they never name the epoch of the answer that follows them.
  if (answer_ && answer_->epoch < epoch) {
    answer_.reset();
    pending_.clear();
    revises_.reset();
  }
  epoch_ = std::max(epoch_, epoch);
}

namespace {

void save_sizes(const std::vector<std::size_t>& sizes, wire::Writer& writer) {
  writer.u64(sizes.size());
  for (const std::size_t size : sizes) writer.u64(size);
}

std::vector<std::size_t> restore_sizes(wire::Reader& reader) {
  std::vector<std::size_t> sizes(reader.count(reader.u64(), 8));
  for (std::size_t& size : sizes) size = static_cast<std::size_t>(reader.u64());
  return sizes;
}

void save_answer(const ChatAnswer& answer, wire::Writer& writer) {
  writer.string(answer.user);
  writer.u64(answer.epoch);
  writer.boolean(answer.spoken);
  writer.boolean(answer.confirmed);
  writer.boolean(answer.done);
  writer.string(answer.text);
  save_sizes(answer.token_ends, writer);
  writer.u32(static_cast<std::uint32_t>(answer.n_tokens));
  answer.filter.save(writer);
  writer.optional(answer.first_sequence);
}

ChatAnswer restore_answer(wire::Reader& reader) {
  ChatAnswer answer;
  answer.user = reader.string();
  answer.epoch = reader.u64();
  answer.spoken = reader.boolean();
  answer.confirmed = reader.boolean();
  answer.done = reader.boolean();
  answer.text = reader.string();
  answer.token_ends = restore_sizes(reader);
  answer.n_tokens = static_cast<int>(reader.u32());
  answer.filter.restore(reader);
  answer.first_sequence = reader.optional();
  return answer;
}

}  // namespace

std::vector<std::byte> ChatState::save() const {
  std::vector<std::byte> saved;
  wire::Writer writer(saved);
  writer.bytes(conversation_->save());
  writer.bytes(sampler_->save());
  writer.u64(n_dropped_);
  writer.u64(n_answers_);
  writer.u32(static_cast<std::uint32_t>(inbox_.size()));
  for (const Text& text : inbox_) save_text(text, writer);
  writer.integers(pending_);
  writer.boolean(answer_.has_value());
  if (answer_) save_answer(*answer_, writer);
  writer.boolean(said_.valid);
  writer.u64(said_.epoch);
  save_sizes(said_.token_ends, writer);
  writer.boolean(awaits_reports_);
  writer.u64(spoken_epoch_);
  writer.u64(reported_epoch_);
  writer.u64(epoch_);
  writer.optional(revises_);
  return saved;
}

void ChatState::restore(std::span<const std::byte> saved) {
  wire::Reader reader(saved, "text/chat");
  conversation_->restore(reader.bytes());
  sampler_->restore(reader.bytes());
  n_dropped_ = reader.u64();
  n_answers_ = reader.u64();
  inbox_.clear();
  const std::size_t n_waiting = reader.count(reader.u32(), 8);
  for (std::size_t i = 0; i < n_waiting; ++i) inbox_.push_back(restore_text(reader));
  pending_ = reader.integers();
  answer_.reset();
  if (reader.boolean()) answer_ = restore_answer(reader);
  said_.valid = reader.boolean();
  said_.epoch = reader.u64();
  said_.token_ends = restore_sizes(reader);
  awaits_reports_ = reader.boolean();
  spoken_epoch_ = reader.u64();
  reported_epoch_ = reader.u64();
  epoch_ = reader.u64();
  revises_ = reader.optional();
  reader.expect_end();
}

bool ChatState::prepare(StageIo& io, DecodeItem& item, StepStatus& status) {
  while (const std::optional<ControlEvent> event = io.next_control()) on_control(io, *event);
  take_input(io);
  while (!inbox_.empty() && next_turn(io)) {
  }
  item.sequence = &conversation_->sequence();
  if (answer_ && !answer_->done && io.space(0) == 0) {
    status = StepStatus::output_full;
    return false;
  }
  if (next_chunk(item)) return true;
  status = StepStatus::need_input;
  if (io.ended(0) && inbox_.empty()) {
    if (answer_) {
      abandon(io, 0);
      io.finished(FinishReason::unconfirmed);
    }
    status = StepStatus::done;
  }
  return false;
}

/// What is pending, of the prompt of an answer or ahead of one.
bool ChatState::next_chunk(DecodeItem& item) const {
  if (pending_.empty()) return false;
  const bool answers = answer_ && !answer_->done;
  const std::size_t n = std::min(pending_.size(), kPrefillChunk);
  item.tokens.assign(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(n));
  item.outputs = answers && n == pending_.size() ? DecodeItem::Outputs::last : DecodeItem::Outputs::none;
  return true;
}

bool ChatState::more_prompt(DecodeItem& item) const { return pending_.size() > 1 && next_chunk(item); }

void ChatState::accept(StageIo& io, DecodeItem& item) {
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(item.tokens.size()));
  if (item.outputs == DecodeItem::Outputs::none || !answer_) return;
  ChatAnswer& answer = *answer_;
  const Token token = sampler_->sample(item.logits);
  if (trunk().ends_generation(token)) return finish(io, FinishReason::complete);
  ++answer.n_tokens;
  const std::string shown = answer.filter.add(trunk().piece(token), false);
  if (!shown.empty()) send(io, shown, false);
  answer.token_ends.push_back(answer.text.size());
  const auto n_ctx = static_cast<std::size_t>(conversation_->n_ctx());
  if (answer.n_tokens >= options_.max_tokens || conversation_->sequence().size() + 1 > n_ctx) {
    io.metric("answers_cut", 1);
    io.lost(Loss::cut, "answer");
    return finish(io, FinishReason::length);
  }
  pending_.push_back(token);
}

void ChatState::take_input(StageIo& io) {
  while (io.available(0) > 0) {
    const Text& text = io.peek(0).as<Text>();
    // A text supersedes earlier ones of the same turn, which ends with a final one. Spoken turns are always taken, so
    // that a recogniser never waits for an answer.
    const bool supersedes = !inbox_.empty() && inbox_.back().turn_state != TurnState::final;
    if (!supersedes && text.pause_index == 0 && inbox_.size() >= kMostWaitingTurns) return;
    if (supersedes) inbox_.pop_back();
    inbox_.push_back(text);
    io.take(0);
  }
}

void ChatState::on_control(StageIo& io, const ControlEvent& event) {
  if (event.name == kParamsChanged) {
    for (const auto& [name, value] : event.values.values()) params_.set(name, value);
    params_changed_ = true;
  }
  if (event.name == turns::kReportsHeard) awaits_reports_ = true;
  if (event.name != turns::kHeard && event.name != turns::kInterrupted) return;
  reported_epoch_ = std::max(reported_epoch_, event.epoch);
  if (event.name == turns::kInterrupted) on_interrupted(io, event);
}

bool ChatState::next_turn(StageIo& io) {
  if (answer_ && answer_->confirmed && !answer_->done) return false;  // only an interruption ends it early
  // How much of the last answer was heard decides what this turn is answered with, and nothing of it may be flushed
  // yet.
  if (awaits_reports_ && spoken_epoch_ > reported_epoch_) return false;
  const Text text = inbox_.front();
  inbox_.pop_front();
  switch (text.turn_state) {
    case TurnState::partial:
      if (answer_) abandon(io, 0);
      prepare_ahead(text);
      break;
    case TurnState::tentative:
      if (answer_) abandon(io, text.pause_index);
      if (options_.speculate && !blank(text.utf8))
        start(io, text, false);
      else
        prepare_ahead(text);
      break;
    case TurnState::final:
      if (answer_ && answer_->user == text.utf8 && answer_->epoch == text.pause_index) {
        answer_->confirmed = true;
        if (answer_->done) commit();
      } else {
        if (answer_) abandon(io, text.pause_index);
        if (!blank(text.utf8)) start(io, text, true);
      }
      break;
  }
  return true;
}

void ChatState::start(StageIo& io, const Text& turn, bool confirmed) {
  answer_.emplace();
  answer_->user = turn.utf8;
  answer_->confirmed = confirmed;
  answer_->spoken = turn.pause_index > 0;
  answer_->epoch = turn.pause_index > 0 ? turn.pause_index : epoch_;
  epoch_ = std::max(epoch_, answer_->epoch);
  apply_params();
  restart_prompt();
  report_dropped(io);
  io.metric("prompt_tokens", static_cast<double>(pending_.size()));
}

/// The answer begins (again) with what the messages are now.
void ChatState::restart_prompt() {
  ChatAnswer& answer = *answer_;
  pending_ = conversation_->align(conversation_->prompt(answer.user));
  const ChatPrompt& tags = conversation_->tags();
  answer.filter = AnswerFilter(tags.thinking_start, tags.thinking_end);
  answer.text.clear();
  answer.token_ends.clear();
  answer.n_tokens = 0;
  answer.done = false;
  sampler_->reset(mixed_seed(seed_, n_answers_));
}

/// Takes a speculative answer back: what was sent of it is flushed, what was decoded of it stays as long as it is of
/// use.
void ChatState::abandon(StageIo& io, std::uint64_t next_pause) {
  const ChatAnswer answer = std::move(*answer_);
  answer_.reset();
  pending_.clear();
  if (!answer.first_sequence) return;
  io.metric("answers_abandoned", 1);
  if (next_pause == answer.epoch) {  // within one pause there is no higher epoch to flush with
    revises_ = answer.first_sequence;
    return;
  }
  epoch_ = std::max(epoch_, answer.epoch + 1);
  io.push(0, Packet::flush(answer.epoch + 1));
}

void ChatState::commit() {
  ChatAnswer& answer = *answer_;
  said_.valid = false;
  ++n_answers_;
  if (answer.spoken) spoken_epoch_ = std::max(spoken_epoch_, answer.epoch);
  if (options_.history) {
    conversation_->add({"user", answer.user});
    if (!blank(answer.text)) {
      conversation_->add({"assistant", answer.text});
      said_ = {answer.epoch, std::move(answer.token_ends), true};
    }
  }
  answer_.reset();
}

void ChatState::on_interrupted(StageIo& io, const ControlEvent& event) {
  const std::int64_t reported = event.values.has(turns::kHeardBytes) ? event.values.get_int(turns::kHeardBytes) : 0;
  const auto heard = static_cast<std::size_t>(std::max<std::int64_t>(reported, 0));
  const auto cut = [&](const std::vector<std::size_t>& ends) {
    const auto found = std::lower_bound(ends.begin(), ends.end(), heard);
    return found == ends.end() ? heard : heard == 0 ? 0 : *found;
  };
  if (answer_ && answer_->confirmed && answer_->epoch == event.epoch) {
    answer_->text.resize(utf8_boundary(answer_->text, cut(answer_->token_ends)));
    pending_.clear();
    commit();
    io.metric("answers_interrupted", 1);
    io.finished(FinishReason::interrupted);
    epoch_ = std::max(epoch_, event.epoch + 1);
    io.push(0, Packet::flush(epoch_));
    return;
  }
  if (!said_.valid || said_.epoch != event.epoch) return;
  const std::size_t before = conversation_->messages().empty() ? 0 : conversation_->messages().back().content.size();
  const std::size_t kept = cut(said_.token_ends);
  if (kept >= before) return;
  conversation_->truncate_last(kept);
  said_.valid = false;
  io.metric("answers_interrupted", 1);
  if (answer_) {  // it was made for a listener who had heard more
    if (answer_->first_sequence) revises_ = answer_->first_sequence;
    answer_->first_sequence.reset();
    restart_prompt();
    return;
  }
  epoch_ = std::max(epoch_, event.epoch + 1);
  io.push(0, Packet::flush(epoch_));
}

/// Decodes what will be at the front of the prompt whatever the speaker says next.
void ChatState::prepare_ahead(const Text& partial) {
  pending_.clear();
  if (options_.strict) return;
  const bool whole = partial.turn_state != TurnState::partial;
  std::size_t stable = whole ? partial.utf8.size() : std::min(partial.stable_bytes, partial.utf8.size());
  if (!whole)
    stable = partial.utf8.find_last_of(' ', stable) == std::string::npos ? 0 : partial.utf8.find_last_of(' ', stable);
  const std::string known = partial.utf8.substr(0, stable);
  // What two different continuations share does not depend on the continuation.
  const std::vector<Token> one = conversation_->prompt(known + " a"), other = conversation_->prompt(known + " Zu 1");
  const auto shared =
      static_cast<std::size_t>(std::mismatch(one.begin(), one.end(), other.begin(), other.end()).first - one.begin());
  const std::vector<Token> held = conversation_->sequence().tokens();
  const auto common = static_cast<std::size_t>(
      std::mismatch(one.begin(), one.begin() + static_cast<std::ptrdiff_t>(shared), held.begin(), held.end()).first -
      one.begin());
  if (shared < common + kLeastAhead) return;
  const std::size_t kept = conversation_->sequence().roll_back(common);
  pending_.assign(one.begin() + static_cast<std::ptrdiff_t>(kept), one.begin() + static_cast<std::ptrdiff_t>(shared));
}

/// Turns that the conversation forgot because it outgrew the context.
void ChatState::report_dropped(StageIo& io) {
  const std::uint64_t now = conversation_->n_dropped();
  io.lost(Loss::skipped, "earlier message", now - std::exchange(n_dropped_, now));
}

void ChatState::finish(StageIo& io, FinishReason reason) {
  send(io, answer_->filter.add("", true), true);
  answer_->done = true;
  pending_.clear();
  io.metric("answer_tokens", answer_->n_tokens);
  io.finished(reason);
  if (answer_->confirmed) commit();
}

void ChatState::send(StageIo& io, std::string utf8, bool last) {
  ChatAnswer& answer = *answer_;
  answer.text += utf8;
  auto piece = std::make_shared<Text>();
  piece->utf8 = std::move(utf8);
  piece->answer_end = answer.text.size();
  piece->last_of_answer = last;
  piece->pause_index = answer.epoch;
  Packet packet = Packet::data<Text>(std::move(piece));
  packet.epoch = answer.epoch;
  if (revises_) {
    packet.kind = PacketKind::revise;
    packet.since = *revises_;
    revises_.reset();
  }
  const std::uint64_t sequence = io.push(0, std::move(packet));
  if (!answer.first_sequence) answer.first_sequence = sequence;
}

}  // namespace morph::text
