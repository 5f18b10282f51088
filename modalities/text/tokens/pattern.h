// Pattern: a regular expression or a plain text to look for, in UTF-8, by ICU. What a hostile pattern may cost is
// bounded.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace morph::text {

using Range = std::pair<std::size_t, std::size_t>;  ///< begin and end in bytes

/// What becomes of the parts that a pattern matches, when a text is split at them.
enum class SplitBehaviour : unsigned char { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Immutable, thread-safe, cheap to copy.
class Pattern {
 public:
  /// Throws Error{weights} at `where` for an expression that ICU does not take, or one of more than 64 KB.
  static Pattern regex(std::string_view expression, const std::string& where);
  static Pattern plain(std::string text);

  /// Matches in order; none is empty. Throws Error{weights} when it takes too long or too much memory.
  std::vector<Range> find_all(std::string_view text) const;
  std::string replace_all(std::string_view text, std::string_view with) const;
  /// Parts of `text`, none empty. `inverted`: what does not match counts as the match.
  std::vector<std::string> split(std::string_view text, SplitBehaviour behaviour, bool inverted) const;

 private:
  struct Regex;
  std::shared_ptr<const Regex> regex_;
  std::string plain_;
};

/// Splits by ranges that are marked as matches, as Pattern::split does.
std::vector<std::string> split_at(std::string_view text, const std::vector<Range>& matches, SplitBehaviour behaviour);
/// One-character matches of a class.
std::vector<Range> matches_of(std::string_view text, const std::function<bool(char32_t)>& is);

}  // namespace morph::text
