// The TrunkSession on libllama. Sequences share one llama_context, so that they are decoded together; a strict one has
// a context of its own, where nothing a neighbour does can change the order of a sum. Both kinds live in one session.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "llama/handles.h"
#include "llama/llama_trunk.h"
#include "morph/trunk.h"
#include "tensor/threads.h"

namespace morph::backbone {

class LlamaSession final : public TrunkSession, public std::enable_shared_from_this<LlamaSession> {
 public:
  LlamaSession(std::shared_ptr<const LlamaTrunk> trunk, const SessionOptions& options);

  const SessionOptions& options() const override { return options_; }
  std::unique_ptr<Sequence> open(bool strict) override;
  void decode(std::span<DecodeItem> items) override;
  void set_abort(std::function<bool()> abort) override;
  std::uint64_t cache_bytes() const override;

  // For LlamaSequence; `slot` is its own.
  void close(int slot);
  std::size_t size(int slot) const;
  std::vector<Token> tokens(int slot) const;
  std::unique_ptr<Sequence> fork(int slot);
  std::size_t roll_back(int slot, std::size_t n);
  std::vector<std::byte> save(int slot) const;
  void restore(int slot, std::span<const std::byte> saved);

 private:
  struct Slot {
    bool used = false;
    int id = 0;         ///< of the sequence in the shared context; 0 in one of its own
    ContextHandle own;  ///< a strict sequence's; kept for the next one when this one is closed
    std::vector<Token> tokens;
    std::vector<llama_pos> positions;  ///< of each element, never falling
    llama_pos next() const { return positions.empty() ? 0 : positions.back() + 1; }
  };
  /// A part of an item that goes into one llama_decode.
  struct Part {
    DecodeItem* item = nullptr;
    int slot = 0;
    std::size_t begin = 0, n = 0;
  };

  ContextHandle make_context(int n_sequences) const;
  Slot& slot_of(int slot) { return slots_[static_cast<std::size_t>(slot)]; }
  const Slot& slot_of(int slot) const { return slots_[static_cast<std::size_t>(slot)]; }
  bool is_strict(int slot) const { return slot_of(slot).own != nullptr; }
  llama_context* context_of(int slot) const { return is_strict(slot) ? slot_of(slot).own.get() : shared_.get(); }
  llama_seq_id id_of(int slot) const { return slot_of(slot).id; }
  void grow();
  int take_slot(bool strict);  ///< grows the shared context when its places are taken
  ContextHandle own_context();
  std::size_t n_places() const;          ///< sequences that the contexts have room for
  void keep_room(std::size_t n_places);  ///< tells the engine's books how much the caches hold now
  void release_slot(int slot);
  std::vector<std::uint8_t> state_of(int slot) const;
  void set_state(int slot, std::span<const std::uint8_t> state);
  std::uint32_t total_positions(int n_slots) const;
  std::size_t roll_back_locked(int slot, std::size_t n);
  int check(const DecodeItem& item) const;
  void decode_parts(std::span<const Part> parts);
  void collect(std::span<const Part> parts);
  /// Does libllama hand out this tap itself, as the input of the next layer?
  bool is_layer_input(int tap) const;
  /// Are hidden states taken from the running graph? Then sequences go one by one, and every decode waits for them.
  bool uses_callback() const;
  static bool on_tensor(ggml_tensor* tensor, bool ask, void* self);
  static bool on_abort(void* self);
  bool keep(const ggml_tensor* tensor, bool ask);

  std::shared_ptr<const LlamaTrunk> trunk_;
  SessionOptions options_;
  std::shared_ptr<tensor::ThreadPool> pool_;
  mutable std::mutex mutex_;
  std::function<bool()> abort_;
  std::vector<std::vector<float>> tapped_;  ///< per tap, of the decode that is running; by callback only
  std::vector<float> normed_;               ///< its final hidden states, one row per output
  std::exception_ptr failure_;              ///< thrown inside one of libllama's callbacks, which it must not pass
  int n_shared_ = 0;                        ///< places in the shared context
  ContextHandle shared_;                    ///< null until a sequence that is not strict is opened
  std::vector<Slot> slots_;                 ///< last, with `shared_`: contexts are freed before the pool they use
};

class LlamaSequence final : public Sequence {
 public:
  LlamaSequence(std::shared_ptr<LlamaSession> session, int slot) : session_(std::move(session)), slot_(slot) {}
  ~LlamaSequence() override { session_->close(slot_); }
  LlamaSequence(const LlamaSequence&) = delete;
  LlamaSequence& operator=(const LlamaSequence&) = delete;

  std::size_t size() const override { return session_->size(slot_); }
  std::vector<Token> tokens() const override { return session_->tokens(slot_); }
  std::unique_ptr<Sequence> fork() const override { return session_->fork(slot_); }
  std::size_t roll_back(std::size_t n) override { return session_->roll_back(slot_, n); }
  std::vector<std::byte> save() const override { return session_->save(slot_); }
  void restore(std::span<const std::byte> saved) override { session_->restore(slot_, saved); }

  const LlamaSession* session() const { return session_.get(); }
  int slot() const { return slot_; }

 private:
  std::shared_ptr<LlamaSession> session_;
  int slot_;
};

}  // namespace morph::backbone
