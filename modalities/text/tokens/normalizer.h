// Normalizer: what happens to a text before it is cut ("normalizer" of a tokenizer.json).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tokens/json_fields.h"

namespace morph::text {

/// Steps in order; none for a null part. Immutable, thread-safe.
class Normalizer {
 public:
  Normalizer() = default;
  /// Throws Error{weights} for a kind that is not known, naming it.
  explicit Normalizer(const JsonPart& part);
  std::string operator()(std::string text) const;

 private:
  using Step = std::function<std::string(const std::string&)>;
  void add(const JsonPart& part, int depth);
  std::vector<Step> steps_;
};

}  // namespace morph::text
