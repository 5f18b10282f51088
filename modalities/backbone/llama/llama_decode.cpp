// LlamaSession::decode: items are cut into parts that fit one llama_decode, parts of different sequences share it
// (continuous batching), results are copied out per item.
//
// Hidden states come two ways. Where libllama records the inputs of layers (LlamaSession::is_layer_input), they are
// copied with the logits, for all sequences of a batch at once. Everything else (the last layer, the normed states, the
// other families) is caught by the graph's callback, which splits the graph and waits at each tap.
#include <fmt/format.h>
#include <ggml-backend.h>
#include <llama-ext.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "llama/llama_session.h"
#include "llama/on_failure.h"
#include "morph/error.h"

namespace morph::backbone {
namespace {

constexpr llama_pos kMaxPosition = 1 << 30;

std::size_t length_of(const DecodeItem& item, int d_model) {
  return item.embeddings.empty() ? item.tokens.size() : item.embeddings.size() / static_cast<std::size_t>(d_model);
}

bool wants_output(const DecodeItem& item, std::size_t index, std::size_t length) {
  if (item.outputs == DecodeItem::Outputs::all) return true;
  return item.outputs == DecodeItem::Outputs::last && index + 1 == length;
}

}  // namespace

int LlamaSession::check(const DecodeItem& item) const {
  const auto* sequence = dynamic_cast<const LlamaSequence*>(item.sequence);
  const auto refuse = [](const std::string& message) { throw Error(ErrorCode::config, "decode", message); };
  if (sequence == nullptr || sequence->session() != this) refuse("expected a sequence of this session, found another");
  if (item.tokens.empty() == item.embeddings.empty()) refuse("expected tokens or embeddings, found both or neither");
  const TrunkInfo& info = trunk_->info();
  if (item.embeddings.size() % static_cast<std::size_t>(info.d_model) != 0)
    refuse(fmt::format("expected rows of {} values, found {} values", info.d_model, item.embeddings.size()));
  for (Token token : item.tokens)
    if (token < 0 || token >= info.n_vocab)
      refuse(fmt::format("expected tokens 0..{}, found {}", info.n_vocab - 1, token));
  const std::size_t n = length_of(item, info.d_model);
  const bool many_axes = !item.embeddings.empty() && info.n_position_axes > 1;
  const std::size_t n_positions = item.positions.size();
  if (n_positions != 0 && n_positions != n &&
      !(many_axes && n_positions == n * static_cast<std::size_t>(info.n_position_axes)))
    refuse(fmt::format("expected {} positions, found {}", n, n_positions));
  const Slot& slot = slots_[static_cast<std::size_t>(sequence->slot())];
  llama_pos last = std::max(slot.next() - 1, 0);
  for (std::size_t i = 0; i < std::min(n, n_positions); ++i) {
    if (item.positions[i] > kMaxPosition)
      refuse(fmt::format("expected positions up to {}, found {}", kMaxPosition, item.positions[i]));
    if (item.positions[i] < last)
      refuse(fmt::format("expected positions that never fall, found {} after {}", item.positions[i], last));
    last = item.positions[i];
  }
  if (slot.tokens.size() + n > static_cast<std::size_t>(options_.n_ctx))
    throw Error(
        ErrorCode::resource, "context",
        fmt::format("expected at most n_ctx = {} positions, found {} and {} more; shorten the input or raise n_ctx",
                    options_.n_ctx, slot.tokens.size(), n));
  return sequence->slot();
}

void LlamaSession::decode(std::span<DecodeItem> items) {
  std::scoped_lock lock(mutex_);
  struct Cursor {
    int slot;
    std::size_t at, length, size_before;
  };
  std::vector<Cursor> cursors;
  for (DecodeItem& item : items) {
    const int slot = check(item);
    for (const Cursor& other : cursors)
      if (other.slot == slot) throw Error(ErrorCode::config, "decode", "expected each sequence once, found one twice");
    cursors.push_back(
        {slot, 0, length_of(item, trunk_->info().d_model), slots_[static_cast<std::size_t>(slot)].tokens.size()});
    item.logits.clear();
    item.final_hidden.clear();
    item.taps.assign(options_.taps.size(), {});
  }
  for (const Cursor& cursor : cursors) {  // so that what decode_parts writes down cannot fail half-way
    Slot& slot = slots_[static_cast<std::size_t>(cursor.slot)];
    const std::size_t needed = cursor.size_before + cursor.length;
    if (slot.tokens.capacity() < needed) slot.tokens.reserve(std::max(needed, 2 * slot.tokens.capacity()));
    if (slot.positions.capacity() < needed) slot.positions.reserve(std::max(needed, 2 * slot.positions.capacity()));
  }
  OnFailure undo([&] {
    for (const Cursor& cursor : cursors) roll_back_locked(cursor.slot, cursor.size_before);
  });
  const auto most = static_cast<std::size_t>(options_.n_batch);
  for (;;) {
    std::vector<Part> parts;
    std::size_t n_total = 0, n_outputs = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
      Cursor& cursor = cursors[i];
      if (cursor.at == cursor.length || n_total == most) continue;
      const bool separate = uses_callback() || is_strict(cursor.slot) || !items[i].embeddings.empty();
      if (separate && !parts.empty()) continue;
      std::size_t n = std::min(cursor.length - cursor.at, most - n_total);
      if (items[i].outputs == DecodeItem::Outputs::all)
        n = std::min(
            n, static_cast<std::size_t>(options_.max_outputs) - std::min<std::size_t>(n_outputs, options_.max_outputs));
      else if (n_outputs == static_cast<std::size_t>(options_.max_outputs) && cursor.at + n == cursor.length)
        --n;
      if (n == 0) continue;
      parts.push_back({&items[i], cursor.slot, cursor.at, n});
      for (std::size_t k = 0; k < n; ++k) n_outputs += wants_output(items[i], cursor.at + k, cursor.length) ? 1 : 0;
      n_total += n;
      cursor.at += n;
      if (separate) break;
    }
    if (parts.empty()) break;
    decode_parts(parts);
    collect(parts);
  }
  undo.dismiss();
}

void LlamaSession::decode_parts(std::span<const Part> parts) {
  const TrunkInfo& info = trunk_->info();
  const bool embeddings = !parts.front().item->embeddings.empty();
  const std::size_t n_axes = embeddings ? static_cast<std::size_t>(info.n_position_axes) : 1;
  std::size_t n_total = 0;
  for (const Part& part : parts) n_total += part.n;
  std::vector<llama_token> tokens;
  std::vector<llama_pos> positions(n_total * n_axes, 0);  // [n_total, n_axes]
  std::vector<std::int32_t> n_ids(n_total, 1);
  std::vector<llama_seq_id> ids;
  std::vector<llama_seq_id*> id_pointers(n_total);
  std::vector<std::int8_t> outputs;
  ids.reserve(n_total);
  std::size_t row = 0;
  for (const Part& part : parts) {
    const DecodeItem& item = *part.item;
    Slot& slot = slots_[static_cast<std::size_t>(part.slot)];
    const std::size_t length = length_of(item, info.d_model);
    for (std::size_t k = 0; k < part.n; ++k, ++row) {
      const std::size_t at = part.begin + k;
      const llama_pos position = item.positions.empty() ? slot.next() : item.positions[at];
      for (std::size_t axis = 0; axis < n_axes; ++axis) {
        const bool given = item.positions.size() == length * n_axes;
        // Text-like: the first three axes run together, the fourth is unused.
        positions[axis * n_total + row] = given && n_axes > 1 ? item.positions[axis * length + at]
                                          : axis < 3          ? position
                                                              : 0;
      }
      if (!embeddings) tokens.push_back(item.tokens[at]);
      ids.push_back(id_of(part.slot));
      id_pointers[row] = &ids.back();
      outputs.push_back(wants_output(item, at, length) ? 1 : 0);
      slot.tokens.push_back(embeddings ? kNoToken : item.tokens[at]);
      slot.positions.push_back(position);
    }
  }
  llama_batch batch{};
  batch.n_tokens = static_cast<std::int32_t>(n_total);
  batch.token = embeddings ? nullptr : tokens.data();
  batch.embd =
      embeddings ? parts.front().item->embeddings.data() + parts.front().begin * static_cast<std::size_t>(info.d_model)
                 : nullptr;
  batch.pos = positions.data();
  batch.n_seq_id = n_ids.data();
  batch.seq_id = id_pointers.data();
  batch.logits = outputs.data();
  tapped_.assign(options_.taps.size(), {});
  normed_.clear();
  const auto computing = pool_->lock();
  failure_ = nullptr;
  const std::int32_t status = llama_decode(context_of(parts.front().slot), batch);
  if (failure_ != nullptr) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (status == 0) return;
  if (status == 2) throw Error(ErrorCode::cancelled, "decode", "stopped by the abort function");
  if (status == 1) throw Error(ErrorCode::resource, "decode", "no free place in the cache; raise n_ctx");
  throw Error(
      ErrorCode::internal, "decode",
      fmt::format("libllama failed with status {} on {} positions; see the log with MORPH_LOG=debug", status, n_total));
}

void LlamaSession::collect(std::span<const Part> parts) {
  llama_context* context = context_of(parts.front().slot);
  const TrunkInfo& info = trunk_->info();
  std::int32_t row = 0;
  for (const Part& part : parts) {
    DecodeItem& item = *part.item;
    const std::size_t length = length_of(item, info.d_model);
    for (std::size_t k = 0; k < part.n; ++k, ++row) {
      if (!wants_output(item, part.begin + k, length)) continue;
      const float* logits = llama_get_logits_ith(context, row);  // [n_vocab]
      if (logits == nullptr) throw Error(ErrorCode::internal, "decode", "libllama returned no logits");
      item.logits.insert(item.logits.end(), logits, logits + info.n_vocab);
    }
  }
  const auto width = static_cast<std::size_t>(info.d_model);
  for (std::size_t t = 0; t < options_.taps.size(); ++t) {
    if (!is_layer_input(options_.taps[t])) continue;
    const float* rows = llama_get_embeddings_layer_inp(context, static_cast<std::uint32_t>(options_.taps[t] + 1));
    if (rows == nullptr) throw Error(ErrorCode::internal, "decode", "libllama returned no layer inputs");
    for (const Part& part : parts) {  // [d_model, n] each, in the batch's order
      auto& tap = part.item->taps[t];
      tap.insert(tap.end(), rows, rows + part.n * width);
      rows += part.n * width;
    }
  }
  if (!uses_callback()) return;
  // There is one part per decode then.
  auto& hidden = parts.front().item->final_hidden;
  hidden.insert(hidden.end(), normed_.begin(), normed_.end());
  for (std::size_t t = 0; t < tapped_.size(); ++t) {
    auto& tap = parts.front().item->taps[t];
    tap.insert(tap.end(), tapped_[t].begin(), tapped_[t].end());
  }
}

bool LlamaSession::keep(const ggml_tensor* tensor, bool ask) {
  constexpr std::string_view prefix = "l_out-";
  const std::string_view name(tensor->name);
  std::vector<std::vector<float>*> wanting;
  if (options_.final_hidden && name == "result_norm") wanting.push_back(&normed_);
  if (name.substr(0, prefix.size()) == prefix) {
    int layer = -1;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer);
    for (std::size_t t = 0; t < options_.taps.size(); ++t)
      if (options_.taps[t] == layer && !is_layer_input(layer)) wanting.push_back(&tapped_[t]);
  }
  if (ask) return !wanting.empty();
  for (std::vector<float>* out : wanting) {
    const std::size_t before = out->size();
    out->resize(before + static_cast<std::size_t>(ggml_nelements(tensor)));
    ggml_backend_tensor_get(tensor, out->data() + before, 0, ggml_nbytes(tensor));
  }
  return true;
}

// The callbacks are edges: libllama's C code must not be unwound, so what is thrown waits in failure_.

bool LlamaSession::on_tensor(ggml_tensor* tensor, bool ask, void* self) {
  auto& session = *static_cast<LlamaSession*>(self);
  try {
    return session.keep(tensor, ask);
  } catch (...) {
    session.failure_ = std::current_exception();
    return false;  // ends the computation
  }
}

bool LlamaSession::on_abort(void* self) {
  auto& session = *static_cast<LlamaSession*>(self);
  try {
    return session.failure_ != nullptr || (session.abort_ && session.abort_());
  } catch (...) {
    session.failure_ = std::current_exception();
    return true;
  }
}

}  // namespace morph::backbone
