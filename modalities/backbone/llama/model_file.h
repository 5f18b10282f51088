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
  int n_head = 0;              ///< of queries, in the layer that has most
  int d_head_k = 0, d_head_v = 0;
  int d_ff = 0;      ///< width inside a layer's MLP; of experts, those that one token uses together
  int n_merges = 0;  ///< of a byte-pair vocabulary
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

/// What libllama keeps of the vocabulary on the heap: per token its entry, its place in the table of texts and its
/// cached piece; per merge its place in the table of ranks (sizes of its structs and of nodes of unordered maps).
std::uint64_t vocabulary_bytes(const ModelFacts& facts);

/// A context's buffers for a batch of which `n_tokens` are used: those pages are touched, the rest is only reserved.
std::uint64_t compute_bytes(const ModelFacts& facts, const SessionOptions& session, std::uint64_t n_tokens);

}  // namespace morph::backbone
