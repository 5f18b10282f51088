// PreTokenizer: how a normalised text is cut before its pieces are looked up ("pre_tokenizer" of a tokenizer.json).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tokens/json_fields.h"

namespace morph::text {

/// Immutable, thread-safe.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  /// Throws Error{weights} for a kind that is not known, naming it.
  explicit PreTokenizer(const JsonPart& part);
  /// `at_start`: the text begins the whole one (some put a space before that only).
  std::vector<std::string> operator()(std::string text, bool at_start) const;

 private:
  using Pieces = std::vector<std::string>;
  using Step = std::function<Pieces(std::string piece, bool at_start)>;
  void add(const JsonPart& part, int depth);
  std::vector<Step> steps_;
};

}  // namespace morph::text
