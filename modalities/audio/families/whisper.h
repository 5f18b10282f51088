// Whisper (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision"): configuration, loaded
// model and graphs, for whisper.cpp beside this and for what decodes with them in recognise/. Names follow the
// published Hugging Face layout (config.json, generation_config.json, tokenizer.json, model.safetensors).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "recognise/recogniser.h"
#include "recognise/token_text.h"
#include "tensor/graph.h"
#include "tensor/layers/activation.h"
#include "tensor/memory/kv_cache.h"
#include "tensor/weights/weight_set.h"

namespace morph::audio {

/// Fields of config.json, and of generation_config.json where it is present.
struct WhisperConfig {
  int d_model = 0, vocab_size = 0, num_mel_bins = 0, max_source_positions = 0, max_target_positions = 0;
  int encoder_layers = 0, encoder_attention_heads = 0, encoder_ffn_dim = 0;
  int decoder_layers = 0, decoder_attention_heads = 0, decoder_ffn_dim = 0;
  int decoder_start_token_id = -1, eos_token_id = -1;
  tensor::Activation activation = tensor::Activation::gelu;
  bool scale_embedding = false, tie_word_embeddings = true;
  std::optional<bool> is_multilingual;  ///< generation_config.json's; older checkpoints do not say
  std::vector<int> suppress_tokens, begin_suppress_tokens;
  /// (layer, head) of the decoder's cross-attention that follow the sound: generation_config.json's, else every head of
  /// the upper half of the layers, as the reference has it.
  std::vector<std::pair<int, int>> alignment_heads;

  /// Reads a folder. Throws Error{weights} naming the key that is missing or senseless.
  static WhisperConfig read(const std::filesystem::path& folder);
  void validate(const std::string& where) const;

 private:
  void read_alignment_heads(const nlohmann::json& listed);
};

/// Immutable, shared by every session.
struct WhisperModel final : Recogniser, std::enable_shared_from_this<WhisperModel> {
  WhisperConfig config;
  std::filesystem::path folder;
  std::string device;
  RecogniserInfo about;
  std::shared_ptr<const TokenText> tokens;  ///< null when the folder has no tokenizer.json
  std::unique_ptr<tensor::WeightSet> weights;

  /// Row of the tied or untied output table.
  ggml_tensor* output_table() const;

  const RecogniserInfo& info() const override { return about; }
  std::shared_ptr<RecogniserSession> open(const RecogniserUse& use) const override;
  void check(const HearOptions& options) const override;
};

/// Throws Error{weights}, Error{device}. `progress` may be empty.
std::shared_ptr<const WhisperModel> load_whisper(const std::filesystem::path& folder, const std::string& device,
                                                 int n_threads, const tensor::StoragePolicy& policy,
                                                 const std::function<void(double)>& progress = {});

/// Keys and values of several windows: tables of the text so far [d_model, n_rows * n_slots], and of the sound, each
/// head's positions together: [d_head, n_positions * n_head * n_slots].
struct WhisperCaches {
  WhisperCaches(const tensor::Backend& backend, const WhisperConfig& config, int n_slots, int n_rows, ggml_type type);
  int n_slots, n_rows, n_positions, n_head;
  tensor::KvCache self, cross;
  std::size_t bytes() const { return self.bytes() + cross.bytes(); }
};

/// Inputs "mel" [2 * n_ctx, num_mel_bins] and "cross_rows" I64 [n_ctx * n_head] (where each head's positions go in the
/// tables of the sound); output "encoder_last" [d_model, n_ctx] when `keep_states` (then also "encoder_hidden.N").
void build_whisper_encoder(tensor::GraphBuilder& graph, const WhisperModel& model, const WhisperCaches& caches,
                           int n_ctx, bool keep_states);

struct WhisperDecoderShape {
  int first_slot = 0, n_slots = 1;
  int n_tokens = 1;         ///< new tokens of each slot
  int n_kv = 64;            ///< rows of a slot's text that are looked at
  int n_audio = 0;          ///< positions of the sound that are looked at
  bool mask_audio = false;  ///< not all slots have that many
  int n_outputs = 1;        ///< rows of logits; 0: "scores" instead
  auto operator<=>(const WhisperDecoderShape&) const = default;
};
/// Inputs "tokens", "positions" I32 and "rows" I64 [n_tokens * n_slots], "mask" F16 [n_kv, n_tokens, 1, n_slots],
/// "audio_mask" F16 [n_audio, n_tokens, 1, n_slots] when mask_audio, "outputs" I32 [n_outputs]; output "logits"
/// [vocab_size, n_outputs], or "scores" [n_audio, n_tokens, n_alignment_heads], scaled and before the softmax (one
/// slot).
void build_whisper_decoder(tensor::GraphBuilder& graph, const WhisperModel& model, const WhisperCaches& caches,
                           const WhisperDecoderShape& shape);

}  // namespace morph::audio
