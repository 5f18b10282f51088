// One conversation of a run of text/chat: the turn protocol of morph/text.h as a state machine, apart from the decode
// that it shares with others.
//
// prepare() takes what came in and says what this conversation wants decoded; accept() takes the logits. An answer to a
// pause that is not confirmed is speculative: it is sent with the pause as its epoch, and taken back when the speaker
// goes on. What is in the messages is only what was confirmed, and after an interruption only what was heard.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/answer_filter.h"
#include "morph/error.h"
#include "morph/stage.h"
#include "morph/text.h"
#include "morph/trunk.h"

namespace morph::text {

struct ChatOptions {
  std::string system;
  int max_tokens = 256;
  bool history = true;
  bool speculate = true;  ///< answer at a pause already, not only when the turn is over
  bool strict = false;    ///< nothing may depend on when packets arrive: no prompt is prepared ahead
  SamplerOptions sampler;
  Conversation::Overflow overflow = Conversation::Overflow::drop_oldest;

  /// Of a run: `params` as declared in stages/chat.cpp; `strict` also when the run is.
  static ChatOptions of(const Params& params, bool strict);
  Conversation::Options conversation() const { return {system, max_tokens, overflow, strict}; }
};

/// Prompt tokens that are decoded at a time. Small enough that a step which is asked to yield ends soon, and always the
/// same, so that the numbers do not depend on who asked.
inline constexpr std::size_t kPrefillChunk = 64;

/// An answer that is being made, or was made and waits for its confirmation.
struct ChatAnswer {
  std::string user;
  std::uint64_t epoch = 0;
  bool spoken = false;  ///< to a turn that was spoken
  bool confirmed = false;
  bool done = false;
  std::string text;                     ///< as sent
  std::vector<std::size_t> token_ends;  ///< bytes of `text` after each token
  int n_tokens = 0;
  AnswerFilter filter;
  std::optional<std::uint64_t> first_sequence;  ///< of the first packet sent
};

class ChatState final : public StageState {
 public:
  /// Takes `conversation` until it is destroyed. `context` holds the run's parameters. Throws Error{config} when
  /// another run has it.
  ChatState(std::shared_ptr<Conversation> conversation, const ChatOptions& options, const OpenContext& context);
  ~ChatState() override;
  ChatState(const ChatState&) = delete;
  ChatState& operator=(const ChatState&) = delete;

  /// Handles control events and input. True when `item` should be decoded; otherwise `status` says what is waited for.
  bool prepare(StageIo& io, DecodeItem& item, StepStatus& status);
  /// Takes the result of the decode of the item that prepare() filled.
  void accept(StageIo& io, DecodeItem& item);
  /// Fills `item` with more of a prompt that is longer than one chunk; false when what comes next is a word of the
  /// answer, or nothing.
  bool more_prompt(DecodeItem& item) const;
  void flush(std::uint64_t epoch) override;
  std::vector<std::byte> save() const override;
  void restore(std::span<const std::byte> saved) override;

 private:
  /// The last answer that went into the messages, for an interruption that comes later.
  struct Said {
    std::uint64_t epoch = 0;
    std::vector<std::size_t> token_ends;
    bool valid = false;
  };

  void take_input(StageIo& io);
  bool next_turn(StageIo& io);  ///< handles the oldest text in the inbox; false when it has to wait
  void on_control(StageIo& io, const ControlEvent& event);
  void on_interrupted(StageIo& io, const ControlEvent& event);
  void start(StageIo& io, const Text& turn, bool confirmed);
  void restart_prompt();
  void abandon(StageIo& io, std::uint64_t next_pause);
  void commit();
  void prepare_ahead(const Text& partial);
  void finish(StageIo& io, FinishReason reason);
  bool next_chunk(DecodeItem& item) const;
  void apply_params();
  void report_dropped(StageIo& io);
  void send(StageIo& io, std::string utf8, bool last);

  const Trunk& trunk() const { return conversation_->trunk(); }

  Params params_;
  bool run_is_strict_ = false;
  bool params_changed_ = false;  ///< since the last answer began
  ChatOptions options_;
  std::shared_ptr<Conversation> conversation_;
  std::unique_ptr<Sampler> sampler_;
  std::uint64_t seed_;
  std::uint64_t n_dropped_ = 0;  ///< messages that the conversation had dropped when this run last looked
  std::uint64_t n_answers_ = 0;  ///< that were committed: each draws with a seed of its own
  std::deque<Text> inbox_;
  std::vector<Token> pending_;  ///< prompt tokens still to be decoded
  std::optional<ChatAnswer> answer_;
  Said said_;
  bool awaits_reports_ = false;           ///< `heard` or `interrupted` comes for every spoken answer (audio/playback)
  std::uint64_t spoken_epoch_ = 0;        ///< of the last spoken turn's answer that is in the messages ...
  std::uint64_t reported_epoch_ = 0;      ///< ... and up to which it was reported what was heard
  std::uint64_t epoch_ = 0;               ///< highest epoch used or flushed
  std::optional<std::uint64_t> revises_;  ///< the next packet supersedes what was sent since
};

}  // namespace morph::text
