// Sequences of a session: slots, growth, fork, rollback, save and restore. The decode itself is in llama_decode.cpp.
//
// A new slot beyond the context's size makes a context of twice the size and moves the live sequences there by their
// saved state, so that memory follows the number of open sequences.
#include "llama/llama_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

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

int padded(int n_ctx) { return (n_ctx + 255) / 256 * 256; }

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
  contexts_.push_back(make_context(1));
  slots_.resize(1);
}

ContextHandle LlamaSession::make_context(int n_slots) const {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(padded(options_.n_ctx) * n_slots);
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
  if (taps()) {  // libllama's own embeddings output would compute logits of every position
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
  if (pool_->get() != nullptr) llama_attach_threadpool(context.get(), pool_->get(), pool_->get());
  return context;
}

void LlamaSession::grow() {
  const auto n_now = slots_.size();
  if (options_.strict) {
    contexts_.push_back(make_context(1));
    slots_.emplace_back();
    return;
  }
  std::vector<std::vector<std::uint8_t>> states;
  for (std::size_t i = 0; i < n_now; ++i) states.push_back(state_of(static_cast<int>(i)));
  const std::size_t n_more = std::min(2 * n_now, static_cast<std::size_t>(options_.max_sequences));
  const auto move_to = [&](std::size_t n) {
    contexts_.front().reset();  // before the next one takes its memory
    contexts_.front() = make_context(static_cast<int>(n));
    for (std::size_t i = 0; i < n_now; ++i) set_state(static_cast<int>(i), states[i]);
  };
  try {
    move_to(n_more);
  } catch (const Error&) {  // go on with what there was
    move_to(n_now);
    throw;
  }
  slots_.resize(n_more);
}

int LlamaSession::take_slot() {
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (!slots_[i].used) {
      slots_[i] = Slot{};
      slots_[i].used = true;
      return static_cast<int>(i);
    }
  const int n_now = static_cast<int>(slots_.size());
  if (n_now >= options_.max_sequences)
    throw Error(
        ErrorCode::resource, "sequences",
        fmt::format("expected at most {} open sequences, found one more; wait for a run to end or raise the limit",
                    options_.max_sequences));
  grow();
  slots_[static_cast<std::size_t>(n_now)].used = true;
  return n_now;
}

std::unique_ptr<Sequence> LlamaSession::open() {
  std::scoped_lock lock(mutex_);
  return std::make_unique<LlamaSequence>(shared_from_this(), take_slot());
}

void LlamaSession::close(int slot) {
  std::scoped_lock lock(mutex_);
  llama_memory_seq_rm(llama_get_memory(context_of(slot)), id_of(slot), -1, -1);
  slots_[static_cast<std::size_t>(slot)] = Slot{};
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
  if (state.empty()) return;
  if (llama_state_seq_set_data(context_of(slot), state.data(), state.size(), id_of(slot)) == 0)
    throw Error(ErrorCode::format, "sequence state",
                "libllama refuses these bytes; they are damaged or another model's");
}

std::unique_ptr<Sequence> LlamaSession::fork(int slot) {
  std::scoped_lock lock(mutex_);
  const int copy = take_slot();  // may move everything: state is taken afterwards
  if (options_.strict)
    set_state(copy, state_of(slot));
  else  // shares the cells
    llama_memory_seq_cp(llama_get_memory(context_of(slot)), id_of(slot), id_of(copy), -1, -1);
  slots_[static_cast<std::size_t>(copy)] = slots_[static_cast<std::size_t>(slot)];
  return std::make_unique<LlamaSequence>(shared_from_this(), copy);
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
  if (n > 0)
    set_state(slot, {reinterpret_cast<const std::uint8_t*>(at + lists), static_cast<std::size_t>(head.n_bytes)});
  Slot& state = slots_[static_cast<std::size_t>(slot)];
  state.tokens.resize(n);
  state.positions.resize(n);
  if (n > 0) {
    std::memcpy(state.tokens.data(), at, n * sizeof(Token));
    std::memcpy(state.positions.data(), at + n * sizeof(Token), n * sizeof(llama_pos));
  }
}

void LlamaSession::set_abort(std::function<bool()> abort) {
  std::scoped_lock lock(mutex_);
  abort_ = std::move(abort);
}

std::uint64_t LlamaSession::cache_bytes() const {
  std::scoped_lock lock(mutex_);
  return backbone::cache_bytes(trunk_->facts(), options_) * slots_.size();
}

std::shared_ptr<TrunkSession> open_llama_session(std::shared_ptr<const LlamaTrunk> trunk,
                                                 const SessionOptions& options) {
  return std::make_shared<LlamaSession>(std::move(trunk), options);
}

}  // namespace morph::backbone
