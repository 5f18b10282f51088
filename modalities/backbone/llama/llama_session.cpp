// Sequences of a session: slots, growth, fork, rollback, save and restore. The decode itself is in llama_decode.cpp.
//
// A new slot beyond the context's size makes a context of twice the size and copies the live sequences there by their
// saved state, so that memory follows the number of open sequences. The old context goes when the new one is complete.
#include "llama/llama_session.h"

#include <fmt/format.h>
#include <llama-ext.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string_view>

#include "llama/on_failure.h"
#include "llama/runtime.h"
#include "morph/error.h"

namespace morph::backbone {
namespace {

constexpr std::uint32_t kStateMagic = 0x5153544du;  // "MTSQ"
constexpr std::uint32_t kStateVersion = 1;

/// In front of libllama's own bytes in Sequence::save().
struct StateHead {
  std::uint32_t magic = kStateMagic, version = kStateVersion;
  std::uint32_t n_layer = 0, d_model = 0, n_vocab = 0, f32_cache = 0;
  std::uint64_t n_elements = 0, n_bytes = 0;
};

/// Architectures whose graphs record each layer's input, which llama_set_embeddings_layer_inp hands out; with any other
/// it ends the process, and there is no way to ask. Read in libllama's src/models/ of the pinned version; those in
/// which the input of layer n + 1 is not what layer n gave out (deepstack, several streams) are left out.
constexpr std::array<std::string_view, 8> kRecordInputs = {"llama",  "qwen3",     "qwen3moe", "qwen3next",
                                                           "qwen35", "qwen35moe", "gpt-oss",  "minimax-m2"};

/// Gives `state` to a sequence. Throws Error{format}, and the sequence is then empty.
void load_state(llama_context* context, llama_seq_id id, std::span<const std::uint8_t> state) {
  if (state.empty()) return;
  if (llama_state_seq_set_data(context, state.data(), state.size(), id) != 0) return;
  llama_memory_seq_rm(llama_get_memory(context), id, -1, -1);
  throw Error(ErrorCode::format, "sequence state", "libllama refuses these bytes; they are damaged or another model's");
}

/// Bytes reserved for computing, on whatever devices.
std::uint64_t compute_buffers(const llama_context* context) {
  std::uint64_t bytes = 0;
  for (const auto& [type, data] : llama_get_memory_breakdown(context)) bytes += data.compute;
  return bytes;
}

}  // namespace

LlamaSession::LlamaSession(std::shared_ptr<const LlamaTrunk> trunk, const SessionOptions& options)
    : trunk_(std::move(trunk)), options_(options), pool_(tensor::shared_threadpool(std::max(options.n_threads, 1))) {
  const auto check = [](bool good, const char* name, int value, const char* expected) {
    if (!good) throw Error(ErrorCode::config, name, fmt::format("expected {}, found {}", expected, value));
  };
  check(options_.n_ctx > 0 && options_.n_ctx <= (1 << 24), "n_ctx", options_.n_ctx, "1 to 16777216");
  check(options_.max_sequences > 0 && options_.max_sequences <= 256, "max_sequences", options_.max_sequences,
        "1 to 256");
  check(options_.n_batch > 0, "n_batch", options_.n_batch, "1 or more");
  check(options_.max_outputs > 0, "max_outputs", options_.max_outputs, "1 or more");
  for (int tap : options_.taps) check(tap >= 0 && tap < trunk_->info().n_layer, "taps", tap, "a layer of the model");
  options_.n_threads = std::max(options_.n_threads, 1);
  // What does not fit is known here, not with the first sequence, which finds its place made.
  take_slot(options_.strict);
  release_slot(0);
}

bool LlamaSession::is_layer_input(int tap) const {
  return tap + 1 < trunk_->info().n_layer &&
         std::find(kRecordInputs.begin(), kRecordInputs.end(), trunk_->info().architecture) != kRecordInputs.end();
}

bool LlamaSession::uses_callback() const {
  return options_.final_hidden ||
         std::any_of(options_.taps.begin(), options_.taps.end(), [this](int tap) { return !is_layer_input(tap); });
}

std::uint32_t LlamaSession::total_positions(int n_slots) const {
  const std::int64_t each = (static_cast<std::int64_t>(options_.n_ctx) + 255) / 256 * 256, most = 1 << 30;
  if (each * n_slots > most)
    throw Error(ErrorCode::resource, "n_ctx",
                fmt::format("expected at most {} positions in all sequences together, found {} of {}; lower n_ctx or "
                            "the number of sequences",
                            most, n_slots, each));
  return static_cast<std::uint32_t>(each * n_slots);
}

ContextHandle LlamaSession::make_context(int n_slots) const {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = total_positions(n_slots);
  params.n_batch = params.n_ubatch = static_cast<std::uint32_t>(options_.n_batch);
  params.n_seq_max = static_cast<std::uint32_t>(n_slots);
  params.n_outputs_max = static_cast<std::uint32_t>(std::max(options_.max_outputs, n_slots));
  params.n_threads = params.n_threads_batch = options_.n_threads;
  params.kv_unified = true;  // states of sequences then fit contexts of any size
  params.swa_full = true;    // a pruned window could not be rolled back
  params.no_perf = true;
  if (options_.f32_cache) {
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  }
  if (uses_callback()) {  // libllama's own embeddings output would compute logits of every position
    params.cb_eval = on_tensor;
    params.cb_eval_user_data = const_cast<LlamaSession*>(this);
  }
  params.abort_callback = on_abort;
  params.abort_callback_data = const_cast<LlamaSession*>(this);
  ContextHandle context(llama_init_from_model(trunk_->model(), params));
  if (!context)
    throw Error(
        ErrorCode::resource, trunk_->info().file.string(),
        fmt::format("no memory for {} sequence(s) of {} positions ({} MiB of keys and values each); lower n_ctx "
                    "or the number of sequences",
                    n_slots, options_.n_ctx, backbone::cache_bytes(trunk_->facts(), options_) >> 20));
  for (const int tap : options_.taps)
    if (is_layer_input(tap)) llama_set_embeddings_layer_inp(context.get(), static_cast<std::uint32_t>(tap + 1), true);
  if (pool_->get() != nullptr) llama_attach_threadpool(context.get(), pool_->get(), pool_->get());
  return context;
}

/// More places in the shared context.
void LlamaSession::grow() {
  const std::size_t n_before = n_places();
  OnFailure undo([&] { keep_room(n_before); });
  if (n_shared_ == 0) {
    keep_room(n_before + 1);
    shared_ = make_context(1);
    n_shared_ = 1;
    undo.dismiss();
    return;
  }
  // The old context stays until the new one holds everything: when memory is short, the session is as before.
  int n_more = std::min(2 * n_shared_, options_.max_sequences);
  ContextHandle larger;
  std::shared_ptr<void> both;  // while the old one is still there
  const auto make = [&](int n) {
    n_more = n;
    both.reset();
    const auto n_old = static_cast<std::size_t>(n_shared_);
    if (options_.memory)
      both = options_.memory->take(
          n_old * backbone::cache_bytes(trunk_->facts(), options_) + compute_buffers(shared_.get()),
          "moving conversations to a larger cache");
    keep_room(n_before - n_old + static_cast<std::size_t>(n));
    larger = make_context(n);
  };
  try {
    make(n_more);
  } catch (const Error&) {  // perhaps there is room for one more
    if (n_more == n_shared_ + 1) throw;
    make(n_shared_ + 1);
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const int slot = static_cast<int>(i);
    if (slots_[i].used && !is_strict(slot)) load_state(larger.get(), id_of(slot), state_of(slot));
  }
  shared_ = std::move(larger);
  n_shared_ = n_more;
  undo.dismiss();
}

std::size_t LlamaSession::n_places() const {
  return static_cast<std::size_t>(n_shared_) +
         static_cast<std::size_t>(
             std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.own != nullptr; }));
}

void LlamaSession::keep_room(std::size_t n_places) {
  if (options_.memory) options_.memory->keep_pool(n_places * backbone::cache_bytes(trunk_->facts(), options_));
}

/// For one strict sequence.
ContextHandle LlamaSession::own_context() {
  const std::size_t n_before = n_places();
  OnFailure undo([&] { keep_room(n_before); });
  keep_room(n_before + 1);
  ContextHandle own = make_context(1);
  undo.dismiss();
  return own;
}

int LlamaSession::take_slot(bool strict) {
  std::vector<bool> ids(static_cast<std::size_t>(options_.max_sequences), false);
  int n_used = 0;
  std::size_t free = slots_.size();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    const bool own = slot.own != nullptr;
    if (slot.used) ++n_used;
    if (slot.used && !own) ids[static_cast<std::size_t>(slot.id)] = true;
    // A place that already has what is wanted goes first: making a context takes time.
    if (!slot.used && own == strict) free = i;
  }
  if (n_used >= options_.max_sequences)
    throw Error(
        ErrorCode::resource, "sequences",
        fmt::format("expected at most {} open sequences, found one more; wait for a run to end or raise the limit",
                    options_.max_sequences));
  const int id = strict ? 0 : static_cast<int>(std::find(ids.begin(), ids.end(), false) - ids.begin());
  if (!strict && id >= n_shared_) grow();
  ContextHandle own;
  if (strict) own = free < slots_.size() ? std::move(slots_[free].own) : own_context();
  if (free == slots_.size()) slots_.emplace_back();
  slots_[free] = Slot{};
  slots_[free].used = true;
  slots_[free].id = id;
  slots_[free].own = std::move(own);
  return static_cast<int>(free);
}

/// A context of its own stays for the next strict sequence.
void LlamaSession::release_slot(int slot) {
  llama_memory_seq_rm(llama_get_memory(context_of(slot)), id_of(slot), -1, -1);
  ContextHandle own = std::move(slot_of(slot).own);
  slot_of(slot) = Slot{};
  slot_of(slot).own = std::move(own);
}

std::unique_ptr<Sequence> LlamaSession::open(bool strict) {
  std::scoped_lock lock(mutex_);
  const int slot = take_slot(strict || options_.strict);
  OnFailure undo([&] { release_slot(slot); });
  auto sequence = std::make_unique<LlamaSequence>(shared_from_this(), slot);
  undo.dismiss();
  return sequence;
}

void LlamaSession::close(int slot) {
  std::scoped_lock lock(mutex_);
  release_slot(slot);
}

std::size_t LlamaSession::size(int slot) const {
  std::scoped_lock lock(mutex_);
  return slots_[static_cast<std::size_t>(slot)].tokens.size();
}

std::vector<Token> LlamaSession::tokens(int slot) const {
  std::scoped_lock lock(mutex_);
  return slots_[static_cast<std::size_t>(slot)].tokens;
}

std::vector<std::uint8_t> LlamaSession::state_of(int slot) const {
  if (slots_[static_cast<std::size_t>(slot)].tokens.empty()) return {};
  std::vector<std::uint8_t> state(llama_state_seq_get_size(context_of(slot), id_of(slot)));
  state.resize(llama_state_seq_get_data(context_of(slot), state.data(), state.size(), id_of(slot)));
  return state;
}

void LlamaSession::set_state(int slot, std::span<const std::uint8_t> state) {
  load_state(context_of(slot), id_of(slot), state);
}

std::unique_ptr<Sequence> LlamaSession::fork(int slot) {
  std::scoped_lock lock(mutex_);
  const bool strict = is_strict(slot);
  const int copy = take_slot(strict);  // may move everything: state is taken afterwards
  OnFailure undo([&] { release_slot(copy); });
  if (strict)
    set_state(copy, state_of(slot));
  else  // shares the cells
    llama_memory_seq_cp(llama_get_memory(context_of(slot)), id_of(slot), id_of(copy), -1, -1);
  slot_of(copy).tokens = slot_of(slot).tokens;
  slot_of(copy).positions = slot_of(slot).positions;
  auto sequence = std::make_unique<LlamaSequence>(shared_from_this(), copy);
  undo.dismiss();
  return sequence;
}

std::size_t LlamaSession::roll_back(int slot, std::size_t n) {
  std::scoped_lock lock(mutex_);
  return roll_back_locked(slot, n);
}

std::size_t LlamaSession::roll_back_locked(int slot, std::size_t n) {
  Slot& state = slots_[static_cast<std::size_t>(slot)];
  if (n >= state.tokens.size()) return state.tokens.size();
  // Elements that share a position (image patches under multi-axis RoPE) go together.
  const llama_pos from = state.positions[n];
  while (n > 0 && state.positions[n - 1] >= from) --n;
  llama_memory_t memory = llama_get_memory(context_of(slot));
  if (n == 0 || !llama_memory_seq_rm(memory, id_of(slot), from, -1)) {
    llama_memory_seq_rm(memory, id_of(slot), -1, -1);
    n = 0;
  }
  state.tokens.resize(n);
  state.positions.resize(n);
  return n;
}

std::vector<std::byte> LlamaSession::save(int slot) const {
  std::scoped_lock lock(mutex_);
  const Slot& state = slots_[static_cast<std::size_t>(slot)];
  const std::vector<std::uint8_t> bytes = state_of(slot);
  StateHead head;
  head.n_layer = static_cast<std::uint32_t>(trunk_->info().n_layer);
  head.d_model = static_cast<std::uint32_t>(trunk_->info().d_model);
  head.n_vocab = static_cast<std::uint32_t>(trunk_->info().n_vocab);
  head.f32_cache = options_.f32_cache ? 1 : 0;
  head.n_elements = state.tokens.size();
  head.n_bytes = bytes.size();
  std::vector<std::byte> saved;
  const auto put = [&](const void* data, std::size_t n) {
    const auto* begin = static_cast<const std::byte*>(data);
    saved.insert(saved.end(), begin, begin + n);
  };
  put(&head, sizeof head);
  put(state.tokens.data(), state.tokens.size() * sizeof(Token));
  put(state.positions.data(), state.positions.size() * sizeof(llama_pos));
  put(bytes.data(), bytes.size());
  return saved;
}

void LlamaSession::restore(int slot, std::span<const std::byte> saved) {
  std::scoped_lock lock(mutex_);
  roll_back_locked(slot, 0);
  StateHead head;
  const auto refuse = [](const std::string& message) { throw Error(ErrorCode::format, "sequence state", message); };
  if (saved.size() < sizeof head)
    refuse(fmt::format("expected at least {} bytes, found {}", sizeof head, saved.size()));
  std::memcpy(&head, saved.data(), sizeof head);
  if (head.magic != kStateMagic || head.version != kStateVersion)
    refuse(fmt::format("expected a saved sequence of version {}, found other bytes", kStateVersion));
  if (head.n_layer != static_cast<std::uint32_t>(trunk_->info().n_layer) ||
      head.d_model != static_cast<std::uint32_t>(trunk_->info().d_model) ||
      head.n_vocab != static_cast<std::uint32_t>(trunk_->info().n_vocab) ||
      head.f32_cache != (options_.f32_cache ? 1u : 0u))
    refuse(
        fmt::format("expected a state of {} layers and width {}, found {} and {}: another model's, or another cache "
                    "type's",
                    trunk_->info().n_layer, trunk_->info().d_model, head.n_layer, head.d_model));
  if (head.n_elements > static_cast<std::uint64_t>(options_.n_ctx))
    throw Error(ErrorCode::resource, "sequence state",
                fmt::format("expected at most n_ctx = {} positions, found {}", options_.n_ctx, head.n_elements));
  const std::size_t n = head.n_elements, lists = n * (sizeof(Token) + sizeof(llama_pos));
  if (saved.size() - sizeof head < lists || saved.size() - sizeof head - lists != head.n_bytes)
    refuse(fmt::format("expected {} bytes, found {}: it was cut", sizeof head + lists + head.n_bytes, saved.size()));
  const std::byte* at = saved.data() + sizeof head;
  Slot restored;
  restored.tokens.resize(n);
  restored.positions.resize(n);
  if (n > 0) {
    std::memcpy(restored.tokens.data(), at, n * sizeof(Token));
    std::memcpy(restored.positions.data(), at + n * sizeof(Token), n * sizeof(llama_pos));
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (restored.tokens[i] < kNoToken || restored.tokens[i] >= trunk_->info().n_vocab)
      refuse(fmt::format("expected tokens of the vocabulary, found {}", restored.tokens[i]));
    if (restored.positions[i] < (i == 0 ? 0 : restored.positions[i - 1]) || restored.positions[i] > (1 << 30))
      refuse(fmt::format("expected positions from 0 to 2^30 that never fall, found {}", restored.positions[i]));
  }
  if (n == 0) return;
  set_state(slot, {reinterpret_cast<const std::uint8_t*>(at + lists), static_cast<std::size_t>(head.n_bytes)});
  const llama_pos last = llama_memory_seq_pos_max(llama_get_memory(context_of(slot)), id_of(slot));
  if (last != restored.positions.back()) {
    llama_memory_seq_rm(llama_get_memory(context_of(slot)), id_of(slot), -1, -1);
    refuse(fmt::format("expected keys and values up to position {}, found them up to {}", restored.positions.back(),
                       last));
  }
  slot_of(slot).tokens = std::move(restored.tokens);
  slot_of(slot).positions = std::move(restored.positions);
}

void LlamaSession::set_abort(std::function<bool()> abort) {
  std::scoped_lock lock(mutex_);
  abort_ = std::move(abort);
}

std::uint64_t LlamaSession::cache_bytes() const {
  std::scoped_lock lock(mutex_);
  const auto n_own = std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.own != nullptr; });
  return backbone::cache_bytes(trunk_->facts(), options_) * static_cast<std::uint64_t>(n_shared_ + n_own);
}

std::shared_ptr<TrunkSession> open_llama_session(std::shared_ptr<const LlamaTrunk> trunk,
                                                 const SessionOptions& options) {
  return std::make_shared<LlamaSession>(std::move(trunk), options);
}

}  // namespace morph::backbone
