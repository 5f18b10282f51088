// Sorted texts are narrowed byte by byte from every place where one could begin.
#include "tokens/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <bitset>

#include "tokens/code_points.h"

namespace morph::text {
namespace {

constexpr std::size_t kLongest = 4096;  // bytes of one added token

bool is_word(char32_t code) { return u_isalnum(static_cast<UChar32>(code)) != 0 || code == '_'; }

char32_t code_point_before(std::string_view text, std::size_t end) {
  std::size_t at = end - 1;
  while (at > 0 && end - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) --at;
  return next_code_point(text, at);
}

}  // namespace

void AddedTokens::read(const JsonPart& document, const Normalizer& normalizer) {
  if (document.find("added_tokens") == nullptr) return;
  std::size_t i = 0;
  for (const auto& entry : document.list("added_tokens", kMaxTokens)) {
    const JsonPart part{entry, fmt::format("{}/added_tokens/{}", document.where, i++)};
    if (!entry.is_object()) part.refuse("", "an object");
    const int id = static_cast<int>(part.integer("id", 0, kMaxTokens - 1));
    const std::string content = part.text("content");
    if (content.empty() || content.size() > kLongest) part.refuse("content", "text of 1 to 4096 bytes");
    ids_[content] = id;
    texts_[id] = content;
    special_[id] = part.flag("special", false);
    const bool normalized = part.flag("normalized", false);
    Added added{normalized ? normalizer(content) : content, id, part.flag("lstrip", false), part.flag("rstrip", false),
                part.flag("single_word", false)};
    if (!added.text.empty()) sorted_[normalized ? 1 : 0].push_back(std::move(added));
  }
  for (std::vector<Added>& list : sorted_)
    std::stable_sort(list.begin(), list.end(), [](const Added& a, const Added& b) { return a.text < b.text; });
}

bool AddedTokens::is_special(int id) const {
  const auto found = special_.find(id);
  return found != special_.end() && found->second;
}

std::vector<TextPart> AddedTokens::split(std::string_view text, bool normalized) const {
  const std::vector<Added>& sorted = sorted_[normalized ? 1 : 0];
  std::vector<TextPart> parts;
  std::bitset<256> starts;
  for (const Added& added : sorted) starts.set(static_cast<unsigned char>(added.text.front()));
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!starts.test(static_cast<unsigned char>(text[at]))) {
      ++at;
      continue;
    }
    // Those that the rest begins with lie among those that share its bytes so far.
    auto low = sorted.begin(), high = sorted.end();
    const Added* best = nullptr;
    for (std::size_t n = 0; n < text.size() - at && low != high; ++n) {
      const auto byte = [n](const Added& added) {
        return n < added.text.size() ? static_cast<int>(static_cast<unsigned char>(added.text[n])) : -1;
      };
      const int wanted = static_cast<unsigned char>(text[at + n]);
      low = std::partition_point(low, high, [&](const Added& added) { return byte(added) < wanted; });
      high = std::partition_point(low, high, [&](const Added& added) { return byte(added) == wanted; });
      if (low != high && low->text.size() == n + 1) best = &*low;
    }
    if (best == nullptr) {
      ++at;
      continue;
    }
    std::size_t from = at, to = at + best->text.size();
    if (best->single_word) {
      std::size_t after = to;
      const bool joined = (from > 0 && is_word(code_point_before(text, from))) ||
                          (to < text.size() && is_word(next_code_point(text, after)));
      if (joined) {
        ++at;
        continue;
      }
    }
    while (best->lstrip && from > begin && is_white_space(code_point_before(text, from))) do
        --from;
      while (from > begin && (static_cast<unsigned char>(text[from]) & 0xC0U) == 0x80U);
    for (std::size_t next = to; best->rstrip && next < text.size() && is_white_space(next_code_point(text, next));)
      to = next;
    if (from > begin) parts.push_back({text.substr(begin, from - begin), -1});
    parts.push_back({text.substr(from, to - from), best->id});
    begin = at = to;
  }
  if (begin < text.size()) parts.push_back({text.substr(begin), -1});
  return parts;
}

}  // namespace morph::text
