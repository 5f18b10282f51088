// TokenDecoder: tokens back to text ("decoder" of a tokenizer.json).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tokens/json_fields.h"

namespace morph::text {

/// Immutable, thread-safe.
class TokenDecoder {
 public:
  TokenDecoder() = default;
  /// Throws Error{weights} for a kind that is not known, naming it.
  explicit TokenDecoder(const JsonPart& part);

  /// Bytes, which may not be UTF-8. Without a decoder tokens stand apart by a space.
  std::string operator()(std::vector<std::string> tokens) const;
  bool is_byte_level() const { return byte_level_; }

 private:
  using Tokens = std::vector<std::string>;
  using Step = std::function<void(Tokens&)>;
  void add(const JsonPart& part, int depth);
  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace morph::text
