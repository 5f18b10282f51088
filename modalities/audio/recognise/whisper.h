// Whisper (Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision"): configuration, loaded
// model and graphs. The family file, models/whisper.cpp, implements what is declared here; names follow the published
// Hugging Face layout (config.json, generation_config.json, tokenizer.json, model.safetensors).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "morph/model.h"
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

  /// Reads a folder. Throws Error{weights} naming the key that is missing or senseless.
  static WhisperConfig read(const std::filesystem::path& folder);
  void validate(const std::string& where) const;
};

/// Immutable, shared by every session.
struct WhisperModel final : Model {
  WhisperConfig config;
  std::filesystem::path folder;
  std::string device;
  std::shared_ptr<const TokenText> tokens;  ///< null when the folder has no tokenizer.json
  std::unique_ptr<tensor::WeightSet> weights;

  /// Row of the tied or untied output table.
  ggml_tensor* output_table() const;
};

/// Throws Error{weights}, Error{device}. `progress` may be empty.
std::shared_ptr<const WhisperModel> load_whisper(const std::filesystem::path& folder, const std::string& device,
                                                 int n_threads, const tensor::StoragePolicy& policy,
                                                 const std::function<void(double)>& progress = {});
std::string whisper_key(const std::filesystem::path& folder, const std::string& device,
                        const tensor::StoragePolicy& policy);
/// Bytes of weights, read from the file's header.
std::size_t whisper_weight_bytes(const std::filesystem::path& folder, const tensor::StoragePolicy& policy);

/// Input "mel" [2 * n_ctx, num_mel_bins]; output "encoder_last" [d_model, n_ctx] when `keep_states` (then also
/// "encoder_hidden.N"); writes every decoder layer's cross-attention keys and values to the first n_ctx rows of
/// `cross`.
void build_whisper_encoder(tensor::GraphBuilder& graph, const WhisperModel& model, const tensor::KvCache& cross,
                           int n_ctx, bool keep_states);

struct WhisperDecoderShape {
  int n_tokens = 1;   ///< new tokens
  int n_kv = 64;      ///< rows of the self-attention cache that are looked at
  int n_audio = 0;    ///< rows of the cross-attention cache
  int n_outputs = 1;  ///< rows of logits
  auto operator<=>(const WhisperDecoderShape&) const = default;
};
/// Inputs "tokens", "positions" I32 [n_tokens], "rows" I64 [n_tokens], "mask" F16 [n_kv, n_tokens], "outputs" I32
/// [n_outputs]; output "logits" [vocab_size, n_outputs].
void build_whisper_decoder(tensor::GraphBuilder& graph, const WhisperModel& model, const tensor::KvCache& self,
                           const tensor::KvCache& cross, const WhisperDecoderShape& shape);

}  // namespace morph::audio
