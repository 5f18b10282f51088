// AddedTokens: the tokens beside a vocabulary, found in a text before anything else is done with it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/json_fields.h"
#include "tokens/normalizer.h"

namespace morph::text {

/// A part of a text: one added token, or what lies between.
struct TextPart {
  std::string_view text;
  int id = -1;  ///< of the added token
};

/// Immutable once read; thread-safe.
class AddedTokens {
 public:
  /// "added_tokens" of a tokenizer.json.
  void read(const JsonPart& document, const Normalizer& normalizer);

  /// Leftmost, longest. `normalized`: those that are looked for in normalised text; otherwise the others.
  std::vector<TextPart> split(std::string_view text, bool normalized) const;
  const std::map<std::string, int, std::less<>>& ids() const { return ids_; }
  bool is_special(int id) const;
  bool holds(int id) const { return texts_.find(id) != texts_.end(); }
  const std::string& text(int id) const { return texts_.at(id); }
  int largest() const { return texts_.empty() ? -1 : texts_.rbegin()->first; }

 private:
  struct Added {
    std::string text;  ///< as looked for
    int id = 0;
    bool lstrip = false, rstrip = false, single_word = false;
  };
  std::vector<Added> sorted_[2];  ///< by text; [1]: looked for in normalised text
  std::map<std::string, int, std::less<>> ids_;
  std::map<int, std::string> texts_;
  std::map<int, bool> special_;
};

}  // namespace morph::text
