// What a GGUF file says about itself, read without its tensors: enough to refuse a damaged file before libllama sees it
// and to know what a model will cost. Format: ggml/docs/gguf.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "morph/trunk.h"

namespace morph::backbone {

struct GgufHeader {
  std::vector<std::filesystem::path> files;  ///< the file, or all parts of a split model
  std::uint64_t file_bytes = 0;              ///< of all parts
  std::string architecture;
  int n_layer = 0, d_model = 0, n_ctx_train = 0, n_vocab = 0;
  std::vector<int> n_head_kv;  ///< per layer
  int d_head_k = 0, d_head_v = 0;
};

/// The GGUF file meant by `path` (a file, or a folder holding one model). Throws Error{weights}.
std::filesystem::path find_gguf(const std::filesystem::path& path);

/// Reads and checks the header(s): magic, sizes, every tensor inside its file. Throws Error{weights} naming file, what
/// was expected and what was found.
GgufHeader read_gguf_header(const std::filesystem::path& file);

/// Rows of the token embedding table as F32, read from the file. [d_model, n_tokens]
std::vector<float> read_embedding_rows(const std::filesystem::path& file, std::span<const Token> tokens);

/// Keys and values of one sequence of n_ctx positions.
std::uint64_t cache_bytes(const GgufHeader& header, const SessionOptions& session);

}  // namespace morph::backbone
