// Embedder: the job of giving a text a place in a space where texts of like meaning lie close. The stage text/embed
// drives one and knows no family; a family is one file in modalities/text/families/, which registers a FamilySpec of
// this job.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "morph/family.h"
#include "morph/model.h"
#include "morph/tokenizer.h"

namespace morph::text {

inline constexpr std::string_view kEmbedderJob = "embedder";

/// What is known of an embedder from its small files.
struct EmbedderInfo : ModelInfo {
  std::string family;
  std::filesystem::path folder;
  int d_embedding = 0;
  int max_tokens = 0;       ///< longest sequence; what is longer is cut
  bool normalized = false;  ///< embeddings have length 1
};

/// Loaded weights. Immutable, thread-safe.
class Embedder : public Model {
 public:
  virtual const EmbedderInfo& info() const = 0;
  /// Ids of a text, at most info().max_tokens of them.
  virtual Encoded tokens(std::string_view text) const = 0;
  /// d_embedding numbers for each sequence, in order. Sequences of unequal length are computed together; each result is
  /// that of the sequence alone, but for rounding. Throws Error{config} for an empty or over-long one or ids out of
  /// range.
  virtual std::vector<std::vector<float>> embed(std::span<const std::vector<int>> sequences) const = 0;
};

}  // namespace morph::text
