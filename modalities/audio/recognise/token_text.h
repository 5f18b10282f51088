// TokenText: what the tokens of a byte-level BPE vocabulary spell (tokenizer.json), the ids of special tokens by name,
// and the tokens of people's words. The byte alphabet and the way words are parted are GPT-2's.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace morph::audio {

/// Immutable, thread-safe.
class TokenText {
 public:
  /// Reads tokenizer.json. Throws Error{weights} for one that is damaged or of another kind.
  static TokenText read(const std::filesystem::path& file);

  /// Bytes of a token, which may be part of a UTF-8 character; empty for special and unknown ones.
  std::string_view piece(int token) const;
  std::string text(std::span<const int> tokens) const;
  /// Tokens of a text (Sennrich et al. 2016, on bytes); no special ones. Not quick: it sorts the merges first.
  std::vector<int> encode(std::string_view text) const;
  /// Id of a special token such as "<|notimestamps|>".
  std::optional<int> special(std::string_view name) const;
  const std::map<std::string, int, std::less<>>& specials() const { return specials_; }
  int size() const { return static_cast<int>(pieces_.size()); }

 private:
  std::vector<std::string> pieces_;
  std::vector<std::pair<std::string, std::string>> merges_;  ///< in bytes, best first
  std::map<std::string, int, std::less<>> specials_;
};

/// Drops bytes that are not UTF-8 (a character cut in half at the end, say).
std::string valid_utf8(std::string_view bytes);

}  // namespace morph::audio
