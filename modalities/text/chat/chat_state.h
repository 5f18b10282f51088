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
  int prefill_chunk = 256;  ///< most prompt tokens decoded in one step
  bool history = true;
  bool speculate = true;  ///< answer at a pause already, not only when the turn is over
  bool strict = false;    ///< nothing may depend on when packets arrive: no prompt is prepared ahead
  SamplerOptions sampler;
  Conversation::Overflow overflow = Conversation::Overflow::drop_oldest;
};

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
  ChatState(std::shared_ptr<const Trunk> trunk, std::shared_ptr<TrunkSession> session, const ChatOptions& options,
            std::span<const std::byte> prefix, std::uint64_t seed);

  /// Handles control events and input. True when `item` should be decoded; otherwise `status` says what is waited for.
  bool prepare(StageIo& io, DecodeItem& item, StepStatus& status);
  /// Takes the result of the decode of the item that prepare() filled.
  void accept(StageIo& io, DecodeItem& item);
  /// Why this conversation cannot go on; kept until a step begins, when no other conversation is in the midst of one.
  void fail(const Error& error) { failure_ = error; }
  const std::optional<Error>& failure() const { return failure_; }
  void flush(std::uint64_t epoch) override;

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
  void finish(StageIo& io);
  void send(StageIo& io, std::string utf8, bool last);

  const Trunk& trunk() const { return conversation_.trunk(); }

  ChatOptions options_;
  Conversation conversation_;
  std::unique_ptr<Sampler> sampler_;
  std::uint64_t seed_;
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
  std::optional<Error> failure_;          ///< kept for the scheduler's second try with this run alone
};

}  // namespace morph::text
