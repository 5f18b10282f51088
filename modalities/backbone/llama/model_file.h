// What a GGUF language model says about itself: enough to know what it will cost, and to refuse what libllama would not
// survive. The file itself is read and checked by engine/tensor; this reads its metadata.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "morph/trunk.h"
#include "tensor/weights/checkpoint.h"

namespace morph::backbone {

struct ModelFacts {
  std::string architecture;
  int n_layer = 0, d_model = 0, n_ctx_train = 0, n_vocab = 0;
  std::vector<int> n_head_kv;  ///< per layer
  int d_head_k = 0, d_head_v = 0;
};

/// `name` is used in errors. Throws Error{weights} naming the key, what was expected and what was found.
ModelFacts read_model_facts(const tensor::GgufMetadata& metadata, const std::string& name);

/// Refuses what makes libllama end the process instead of failing: counts of experts that contradict each other,
/// unknown RoPE scaling, a vocabulary in which a token occurs twice. Throws Error{weights}.
void check_loadable(const tensor::GgufMetadata& metadata, const ModelFacts& facts, const std::string& name);

/// Opens the GGUF model at `path` (a file, or a folder that holds one). Throws Error{weights}.
tensor::Checkpoint open_model_file(const std::filesystem::path& path);

/// Rows of the token embedding table as F32. [d_model, n_tokens]. Throws Error{config} for tokens outside it.
std::vector<float> embedding_rows(const tensor::Checkpoint& checkpoint, std::span<const Token> tokens);

/// Keys and values of one sequence of n_ctx positions.
std::uint64_t cache_bytes(const ModelFacts& facts, const SessionOptions& session);

}  // namespace morph::backbone
