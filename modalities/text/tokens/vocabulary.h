// Vocabulary: tokens by id and ids by token, and which tokens a text may begin with.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/json_fields.h"

namespace morph::text {

/// Immutable once read; thread-safe.
class Vocabulary {
 public:
  /// An object of token to id, or a list of [token, score]. Throws Error{weights} for ids that are none, twice the
  /// same, or beyond kMaxTokens.
  void read(const JsonPart& part);

  int size() const { return static_cast<int>(tokens_.size()); }
  std::optional<int> find(std::string_view token) const;
  /// Empty when there is no such id.
  const std::string& token(int id) const;
  const std::vector<double>& scores() const { return scores_; }  ///< of a list, by id

  /// Calls visit(id, bytes) for every token that `text` begins with, shortest first.
  template <class Visit>
  void prefixes(std::string_view text, const Visit& visit) const {
    std::size_t low = 0, high = sorted_.size();
    for (std::size_t n = 1; n <= text.size() && low < high; ++n) {
      narrow(text[n - 1], n - 1, low, high);
      if (low < high && tokens_[static_cast<std::size_t>(sorted_[low])].size() == n) visit(sorted_[low], n);
    }
  }

 private:
  void place(std::string token, std::int64_t id, const JsonPart& part);
  /// Of sorted_[low, high), which agree in `at` bytes, those whose next byte is `byte`.
  void narrow(char byte, std::size_t at, std::size_t& low, std::size_t& high) const;

  std::vector<std::string> tokens_;
  std::vector<bool> held_;
  std::vector<double> scores_;
  std::vector<int> sorted_;  ///< ids in order of their tokens' bytes
};

}  // namespace morph::text
