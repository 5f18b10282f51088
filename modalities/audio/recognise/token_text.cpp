// Reader of tokenizer.json's vocabulary. The byte alphabet maps each byte to a printable character, as in GPT-2.
#include "recognise/token_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/bounded_json.h"
#include "morph/error.h"

namespace morph::audio {
namespace {

using nlohmann::json;
constexpr int kMaxTokens = 1 << 22;

/// Code point -> byte, or -1.
std::array<int, 512> byte_alphabet() {
  std::array<int, 512> bytes;
  bytes.fill(-1);
  int next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
    bytes[static_cast<std::size_t>(printable ? b : next++)] = b;
  }
  return bytes;
}

std::string spelled(const std::string& token, const std::array<int, 512>& alphabet) {
  std::string bytes;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const auto lead = static_cast<unsigned char>(token[i]);
    unsigned code = lead;
    if (lead >= 0xC0 && lead < 0xE0 && i + 1 < token.size())
      code = ((lead & 0x1FU) << 6) | (static_cast<unsigned char>(token[++i]) & 0x3FU);
    if (code < alphabet.size() && alphabet[code] >= 0) bytes += static_cast<char>(alphabet[code]);
  }
  return bytes;
}

/// Words, numbers and marks, each with the space before it; letters beyond ASCII are letters.
std::vector<std::string_view> parted(std::string_view text) {
  const auto kind = [](char c) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 0x80 || std::isalpha(code) != 0) return 1;
    if (std::isdigit(code) != 0) return 2;
    return std::isspace(code) != 0 ? 0 : 3;
  };
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    if (text[at] == ' ' && at + 1 < text.size() && kind(text[at + 1]) != 0) ++end;
    if (text[end] == '\'' && end == at)
      for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
        if (text.substr(at).starts_with(ending)) end = std::max(end, at + ending.size());
    if (end == at || text[at] == ' ') {
      const int wanted = kind(text[end]);
      while (end < text.size() && kind(text[end]) == wanted) ++end;
      // The last space of several belongs to the word behind.
      if (wanted == 0 && end < text.size() && end - at > 1 && text[end - 1] == ' ') --end;
    }
    parts.push_back(text.substr(at, end - at));
    at = end;
  }
  return parts;
}

int id_of(const json& value, const std::string& where) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() >= kMaxTokens)
    throw Error(ErrorCode::weights, where, "expected token ids from 0 to 4194303, found another value; fetch it again");
  return value.get<int>();
}

}  // namespace

TokenText TokenText::read(const std::filesystem::path& file) {
  const std::string where = file.string();
  const json document = read_bounded_json(file, kVocabularyLimits, ErrorCode::weights);
  const json model = document.is_object() ? document.value("model", json()) : json();
  const json vocabulary = model.is_object() ? model.value("vocab", json()) : json();
  if (!vocabulary.is_object() || vocabulary.empty())
    throw Error(ErrorCode::weights, where,
                "expected a tokenizer with model.vocab (byte-level BPE), found none; fetch it again");
  TokenText tokens;
  const std::array<int, 512> alphabet = byte_alphabet();
  const auto place = [&](int id, std::string bytes) {
    if (tokens.pieces_.size() <= static_cast<std::size_t>(id)) tokens.pieces_.resize(static_cast<std::size_t>(id) + 1);
    tokens.pieces_[static_cast<std::size_t>(id)] = std::move(bytes);
  };
  for (const auto& [token, id] : vocabulary.items()) place(id_of(id, where), spelled(token, alphabet));
  for (const json& merge : document.value(json::json_pointer("/model/merges"), json::array())) {
    std::string first, second;
    if (merge.is_string()) {
      const std::string& both = merge.get_ref<const std::string&>();
      const std::size_t space = both.find(' ');
      if (space == std::string::npos) continue;
      first = both.substr(0, space);
      second = both.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      first = merge[0].get<std::string>();
      second = merge[1].get<std::string>();
    }
    if (!first.empty()) tokens.merges_.emplace_back(spelled(first, alphabet), spelled(second, alphabet));
  }
  for (const json& added : document.value("added_tokens", json::array())) {
    if (!added.is_object() || !added.contains("id") || !added.contains("content") || !added["content"].is_string())
      throw Error(ErrorCode::weights, where, "expected added_tokens with id and content");
    const int id = id_of(added["id"], where);
    const std::string content = added["content"].get<std::string>();
    tokens.specials_[content] = id;
    // Everything added to these vocabularies is a control token or a timestamp: it spells nothing.
    place(id, "");
  }
  return tokens;
}

std::string_view TokenText::piece(int token) const {
  return token >= 0 && token < size() ? std::string_view(pieces_[static_cast<std::size_t>(token)]) : std::string_view();
}

std::string TokenText::text(std::span<const int> tokens) const {
  std::string bytes;
  for (const int token : tokens) bytes += piece(token);
  return valid_utf8(bytes);
}

std::vector<int> TokenText::encode(std::string_view text) const {
  std::map<std::pair<std::string_view, std::string_view>, std::size_t> ranks;
  for (std::size_t i = 0; i < merges_.size(); ++i)
    ranks.emplace(std::pair<std::string_view, std::string_view>(merges_[i].first, merges_[i].second), i);
  std::map<std::string_view, int> ids;
  for (std::size_t i = 0; i < pieces_.size(); ++i)
    if (!pieces_[i].empty()) ids.emplace(pieces_[i], static_cast<int>(i));
  std::vector<int> tokens;
  for (const std::string_view word : parted(text)) {
    std::vector<std::string_view> parts;
    for (std::size_t i = 0; i < word.size(); ++i) parts.push_back(word.substr(i, 1));
    for (;;) {
      std::size_t best = parts.size(), least = merges_.size();
      for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto found = ranks.find(std::pair(parts[i], parts[i + 1]));
        if (found != ranks.end() && found->second < least) {
          least = found->second;
          best = i;
        }
      }
      if (best == parts.size()) break;
      parts[best] = std::string_view(parts[best].data(), parts[best].size() + parts[best + 1].size());
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    for (const std::string_view part : parts)
      if (const auto found = ids.find(part); found != ids.end()) tokens.push_back(found->second);
  }
  return tokens;
}

std::optional<int> TokenText::special(std::string_view name) const {
  const auto found = specials_.find(name);
  return found == specials_.end() ? std::nullopt : std::optional<int>(found->second);
}

std::string valid_utf8(std::string_view bytes) {
  std::string kept;
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const std::size_t n = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : lead >= 0xE0 && lead < 0xF0 ? 3
                          : lead >= 0xF0 && lead < 0xF5 ? 4
                                                        : 0;
    bool good = n > 0 && i + n <= bytes.size();
    for (std::size_t k = 1; good && k < n; ++k) good = (static_cast<unsigned char>(bytes[i + k]) & 0xC0U) == 0x80U;
    if (good) kept.append(bytes.substr(i, n));
    i += good ? n : 1;
  }
  return kept;
}

}  // namespace morph::audio
