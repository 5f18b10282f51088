// Look-up is by bisection over the sorted tokens: no table beside them, and prefixes for nothing.
#include "tokens/vocabulary.h"

#include <algorithm>
#include <cmath>

namespace morph::text {

void Vocabulary::place(std::string token, std::int64_t id, const JsonPart& part) {
  if (id < 0 || id >= kMaxTokens) part.refuse("", fmt::format("token ids from 0 to {}", kMaxTokens - 1));
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens_.size()) {
    tokens_.resize(index + 1);
    held_.resize(index + 1);
  }
  if (held_[index]) part.refuse("", "each token id once");
  tokens_[index] = std::move(token);
  held_[index] = true;
}

void Vocabulary::read(const JsonPart& part) {
  if (part.json.is_object()) {
    for (const auto& [token, id] : part.json.items()) {
      if (!id.is_number_integer()) part.refuse("", "whole numbers as token ids");
      place(token, id.get<std::int64_t>(), part);
    }
  } else if (part.json.is_array()) {
    for (const auto& entry : part.json) {
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number() ||
          !std::isfinite(entry[1].get<double>()))
        part.refuse("", "tokens with a finite score each");
      scores_.push_back(entry[1].get<double>());
      place(entry[0].get<std::string>(), static_cast<std::int64_t>(scores_.size()) - 1, part);
    }
  }
  if (tokens_.empty()) part.refuse("", "a vocabulary");
  for (int id = 0; id < size(); ++id)
    if (held_[static_cast<std::size_t>(id)] && !tokens_[static_cast<std::size_t>(id)].empty()) sorted_.push_back(id);
  const auto bytes = [&](int id) -> const std::string& { return tokens_[static_cast<std::size_t>(id)]; };
  std::sort(sorted_.begin(), sorted_.end(), [&](int a, int b) { return bytes(a) < bytes(b); });
  // The same text twice: the first id counts.
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end(), [&](int a, int b) { return bytes(a) == bytes(b); }),
                sorted_.end());
}

std::optional<int> Vocabulary::find(std::string_view token) const {
  const auto found = std::lower_bound(sorted_.begin(), sorted_.end(), token, [&](int id, std::string_view wanted) {
    return tokens_[static_cast<std::size_t>(id)] < wanted;
  });
  if (found == sorted_.end() || tokens_[static_cast<std::size_t>(*found)] != token) return std::nullopt;
  return *found;
}

const std::string& Vocabulary::token(int id) const {
  static const std::string kNone;
  return id >= 0 && id < size() ? tokens_[static_cast<std::size_t>(id)] : kNone;
}

void Vocabulary::narrow(char byte, std::size_t at, std::size_t& low, std::size_t& high) const {
  const auto begin = sorted_.begin() + static_cast<std::ptrdiff_t>(low),
             end = sorted_.begin() + static_cast<std::ptrdiff_t>(high);
  const auto value = [&](int id) {  // a token that ends here comes first
    const std::string& token = tokens_[static_cast<std::size_t>(id)];
    return at < token.size() ? static_cast<int>(static_cast<unsigned char>(token[at])) : -1;
  };
  const int wanted = static_cast<unsigned char>(byte);
  const auto first = std::partition_point(begin, end, [&](int id) { return value(id) < wanted; });
  const auto last = std::partition_point(first, end, [&](int id) { return value(id) == wanted; });
  low = static_cast<std::size_t>(first - sorted_.begin());
  high = static_cast<std::size_t>(last - sorted_.begin());
}

}  // namespace morph::text
