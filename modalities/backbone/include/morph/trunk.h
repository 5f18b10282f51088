// Trunk: the language model that modalities meet in. Token ids or embeddings go in; logits and hidden states come out.
//
// Three objects. A Trunk is loaded weights with their tokenizer and chat template: immutable, shared. A TrunkSession is
// a pool of cached sequences that are decoded together, whatever run they belong to (continuous batching). A Sequence
// is one of them: it can be forked, rolled back, saved and restored. Talkers, encoders and servers hold these; the one
// implementation, on libllama, is modalities/backbone.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "morph/attachment.h"
#include "morph/memory.h"
#include "morph/model.h"
#include "morph/stage.h"

namespace morph {

using Token = std::int32_t;
/// Stands for a position that was filled by an embedding.
inline constexpr Token kNoToken = -1;

struct TrunkInfo {
  std::string architecture;  ///< as libllama names it: "llama", "qwen3moe"
  std::string description;   ///< "llama 256M Q4_1"
  std::filesystem::path file;
  int n_vocab = 0;
  int d_model = 0;
  int n_layer = 0;
  int n_ctx_train = 0;        ///< positions it was trained for
  int n_position_axes = 1;    ///< 4 for multi-axis RoPE (embeddings only; tokens take one position)
  bool can_roll_back = true;  ///< false for recurrent state: rolling back clears the sequence
  bool has_template = false;
};

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// A rendered chat. What lies between `thinking_start` and one of `thinking_end` in an answer is not for the listener.
struct ChatPrompt {
  std::string text;
  std::string thinking_start;  ///< empty: this family does not think aloud
  std::vector<std::string> thinking_end;
};

struct SamplerOptions {
  float temperature = 0.0f;  ///< 0: the most likely token (greedy)
  int top_k = 40;            ///< 0: off
  float top_p = 0.95f;       ///< 1: off
  float min_p = 0.05f;       ///< 0: off
  float repeat_penalty = 1.0f;
  int repeat_window = 64;  ///< tokens the penalty looks back
  std::uint32_t seed = 0;
};

/// Chooses tokens for one sequence; holds its random state and the tokens the penalty looks at. One thread at a time.
class Sampler {
 public:
  virtual ~Sampler() = default;
  /// A token for logits [n_vocab]; remembered as if by accept(). Throws Error{internal} when a logit is NaN or
  /// plus infinity, or all are minus infinity (damaged weights or an overflow).
  virtual Token sample(std::span<const float> logits) = 0;
  virtual void accept(Token token) = 0;
  /// Back to how it was made, with another seed.
  virtual void reset(std::uint32_t seed) = 0;
  /// What it remembers, and how far its random numbers were drawn; restore() takes it for the same options. Throws
  /// Error{format} for damaged bytes.
  virtual std::vector<std::byte> save() const = 0;
  virtual void restore(std::span<const std::byte> saved) = 0;
};

/// Cached state of one sequence in a TrunkSession. Destroying it frees its place. Thread-safe (the session's lock).
class Sequence {
 public:
  virtual ~Sequence() = default;
  /// Tokens or embeddings decoded so far.
  virtual std::size_t size() const = 0;
  /// What they were, kNoToken for embeddings.
  virtual std::vector<Token> tokens() const = 0;
  /// A second sequence with the same past. Throws Error{resource} when the session is full.
  virtual std::unique_ptr<Sequence> fork() const = 0;
  /// Forgets everything from element `n` on and returns the size now: `n`, or 0 where the family's state cannot be
  /// rolled back in part.
  virtual std::size_t roll_back(std::size_t n) = 0;
  /// The whole state; restore() takes it in this or another process, for the same model.
  virtual std::vector<std::byte> save() const = 0;
  /// Throws Error{format} when the bytes are damaged or another model's; the sequence is then empty.
  virtual void restore(std::span<const std::byte> saved) = 0;
};

/// One sequence's part of a decode. Give tokens or embeddings.
struct DecodeItem {
  enum class Outputs : std::uint8_t { none, last, all };
  Sequence* sequence = nullptr;
  std::vector<Token> tokens;            // [n]
  std::vector<float> embeddings;        // [d_model, n]
  std::vector<std::int32_t> positions;  // [n], or [n, n_position_axes] for embeddings; empty: the next ones
  Outputs outputs = Outputs::last;
  // Filled in by decode():
  std::vector<float> logits;             // [n_vocab, n_outputs]
  std::vector<float> final_hidden;       // [d_model, n_outputs], with SessionOptions::final_hidden
  std::vector<std::vector<float>> taps;  // per tap [d_model, n]; after the last layer [d_model, n_outputs]
};

struct SessionOptions {
  int n_ctx = 2048;       ///< positions per sequence
  int max_sequences = 8;  ///< memory is taken as sequences are opened (1, 2, 4, ...)
  int n_threads = 1;
  int n_batch = 512;     ///< most tokens of one matrix product; longer inputs are cut
  int max_outputs = 16;  ///< most logits rows of one decode (Outputs::all wants more)
  bool strict = false;   ///< same numbers whatever is decoded beside: sequences go one by one
  bool f32_cache =
      false;  ///< keys and values in F32 instead of F16, and no flash attention: for comparing with references
  bool final_hidden = false;
  std::shared_ptr<StageMemory> memory{};  ///< asked before the session grows (morph/memory.h); null: nobody is
  std::vector<int> taps;                  ///< hidden states after these layers (0: after the first)
};

/// Sequences that are decoded together. Thread-safe; one decode at a time.
class TrunkSession {
 public:
  virtual ~TrunkSession() = default;
  virtual const SessionOptions& options() const = 0;
  /// An empty sequence. `strict`: its numbers are the same whatever is decoded beside it; it is decoded alone, in
  /// memory of its own (every sequence of a strict session is). Throws Error{resource} when max_sequences are open or
  /// memory is short.
  virtual std::unique_ptr<Sequence> open(bool strict = false) = 0;
  /// Decodes all items, as few matrix products as possible. Throws Error{resource} when a sequence would outgrow n_ctx
  /// (before anything is decoded), Error{cancelled} when the abort function said so, Error{config} for inputs that make
  /// no sense, and what the abort function throws. After any of them the sequences are as before (empty where the
  /// family's state cannot be rolled back).
  virtual void decode(std::span<DecodeItem> items) = 0;
  /// Asked between parts of a decode; true ends it. May be empty.
  virtual void set_abort(std::function<bool()> abort) = 0;
  /// Bytes held for keys and values.
  virtual std::uint64_t cache_bytes() const = 0;
};

class Trunk : public Model {
 public:
  virtual const TrunkInfo& info() const = 0;
  /// `parse_special`: texts of control tokens become those tokens. `add_special`: BOS/EOS as the family wants.
  virtual std::vector<Token> tokenise(std::string_view utf8, bool parse_special, bool add_special) const = 0;
  /// Bytes of a token; may be part of a UTF-8 character. Control tokens are empty unless `special`.
  virtual std::string piece(Token token, bool special = false) const = 0;
  virtual std::string detokenise(std::span<const Token> tokens, bool special = false) const = 0;
  virtual bool ends_generation(Token token) const = 0;
  /// Rows of the embedding table, [d_model, n_tokens], as F32 (without the scaling some families apply).
  virtual std::vector<float> embed(std::span<const Token> tokens) const = 0;
  /// Renders with the file's own template; `answer` opens the assistant's message. Throws Error{weights} when the model
  /// has no usable template.
  virtual ChatPrompt apply_template(std::span<const ChatMessage> messages, bool answer) const = 0;
  /// The text with the spelling of control tokens broken up, so that a user cannot close his own message.
  virtual std::string neutralise(std::string_view utf8) const = 0;
  virtual std::shared_ptr<TrunkSession> open_session(const SessionOptions& options) const = 0;
  /// Throws Error{config} naming the option that is out of its range.
  virtual std::unique_ptr<Sampler> make_sampler(const SamplerOptions& options) const = 0;
};

struct TrunkOptions {
  std::filesystem::path path;  ///< a GGUF file, or a folder that holds one
  std::string device = "cpu";  ///< "cpu", "cuda:0", ...
  std::function<void(double fraction)> progress;
};

/// Loads a trunk; the file is checked against its own header first. Throws Error{weights} (file, expected, found),
/// Error{device} when the device is absent. Prefer ModelStore with trunk_key().
std::shared_ptr<const Trunk> load_trunk(const TrunkOptions& options);
std::string trunk_key(const TrunkOptions& options);
/// Costs, read from the file's header: weights = file and vocabulary, session = keys and values of one sequence,
/// scratch = a context's buffers when the longest input has `n_tokens`. Throws like load_trunk.
Estimate estimate_trunk(const TrunkOptions& options, const SessionOptions& session, std::uint64_t n_tokens);

/// A chat that outlives a run: messages, and the cached sequence that holds as much of them as has been decoded. An
/// application makes an empty one, keeps it and hands it to one run after the other as
/// RunOptions::attachments["conversation"]; a run that finds it in use by another is refused. One thread at a time, but
/// for take() and release(). The cache is brought in line by longest common prefix, so rollback, restart, truncation
/// after a barge-in and a dropped old turn are all the same operation.
class Conversation final : public Attachment {
 public:
  enum class Overflow : std::uint8_t { drop_oldest, error };
  struct Options {
    std::string system;
    int reserve = 256;  ///< positions kept free for the answer
    Overflow overflow = Overflow::drop_oldest;
    bool strict = false;  ///< its sequence is (TrunkSession::open)
  };
  /// Messages without a trunk; bind() before anything is rendered or decoded.
  Conversation() = default;
  Conversation(std::shared_ptr<const Trunk> trunk, std::shared_ptr<TrunkSession> session, Options options);

  /// Goes on with this trunk, session and options. The messages stay; what is cached of them too, unless the session or
  /// `strict` is another. Throws Error{resource} when the session is full.
  void bind(std::shared_ptr<const Trunk> trunk, std::shared_ptr<TrunkSession> session, Options options);
  /// Other options from here on. Throws Error{config} for another `strict`, which is the sequence's.
  void set_options(Options options);
  /// False when a run has it already.
  bool take() { return !taken_.exchange(true); }
  void release() { taken_ = false; }

  const std::vector<ChatMessage>& messages() const { return messages_; }
  /// Appends; a second user message in a row is joined to the first (its answer was never heard).
  void add(ChatMessage message);
  void pop();
  /// Cuts the last message, an assistant's, to its first `n` bytes (never inside a character); removes it when
  /// nothing is left.
  void truncate_last(std::size_t n);
  void clear() { messages_.clear(); }

  /// Prompt of all messages, and `user` as the newest when it is not empty, with the assistant's turn opened. Drops
  /// the oldest turns for good when it would not fit; throws Error{resource}, and drops none, when even the newest does
  /// not.
  std::vector<Token> prompt(const std::string& user);
  /// Rolls the cache back to what it shares with `tokens` and returns the tokens still to be decoded (at least the
  /// last one).
  std::vector<Token> align(std::span<const Token> tokens);
  /// Messages, thinking tags and the cached sequence, for another process that has the same model. Throws Error{format}
  /// for damaged bytes or another model's.
  std::vector<std::byte> save() const;
  void restore(std::span<const std::byte> saved);
  /// Thinking tags of the last prompt.
  const ChatPrompt& tags() const { return tags_; }
  /// Messages that prompt() dropped so far, because the conversation outgrew the context.
  std::uint64_t n_dropped() const { return n_dropped_; }

  const Trunk& trunk() const { return *trunk_; }
  int n_ctx() const { return session_->options().n_ctx; }
  Sequence& sequence() { return *sequence_; }

 private:
  std::vector<Token> render(const std::vector<ChatMessage>& messages);

  std::shared_ptr<const Trunk> trunk_;
  std::shared_ptr<TrunkSession> session_;
  std::unique_ptr<Sequence> sequence_;
  Options options_;
  std::vector<ChatMessage> messages_;
  ChatPrompt tags_;
  std::uint64_t n_dropped_ = 0;
  std::atomic<bool> taken_{false};
};

}  // namespace morph
