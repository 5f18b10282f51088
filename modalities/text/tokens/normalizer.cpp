// The normalizers that published tokenizers use, as Hugging Face's library defines them: Unicode's forms, BERT's
// cleaning, SentencePiece's compiled table of replacements (a Darts double array and the texts that it leads to).
#include "tokens/normalizer.h"

#include <unicode/brkiter.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include <array>
#include <memory>
#include <utility>

#include "tokens/base64.h"
#include "tokens/code_points.h"
#include "tokens/pattern.h"

namespace morph::text {
namespace {

template <class Change>
std::string each_code_point(const std::string& text, const Change& change) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) change(out, next_code_point(text, at));
  return out;
}

std::string lowercase(const std::string& text) {
  return each_code_point(text, [](std::string& out, char32_t code) {
    if (code == 0x130) {  // the one letter whose lower case is two
      out += "i\xCC\x87";
      return;
    }
    append_utf8(out, static_cast<char32_t>(u_tolower(static_cast<UChar32>(code))));
  });
}

std::string without_marks(const std::string& text) {
  return each_code_point(text, [](std::string& out, char32_t code) {
    if (!is_mark(code)) append_utf8(out, code);
  });
}

std::string unicode_form(const std::string& text, const char* data, UNormalization2Mode mode) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* form = icu::Normalizer2::getInstance(nullptr, data, mode, status);
  std::string out;
  icu::StringByteSink<std::string> sink(&out);
  if (U_SUCCESS(status))
    form->normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())), sink, nullptr,
                        status);
  if (U_FAILURE(status)) throw Error(ErrorCode::internal, "text/tokens", "ICU cannot normalise a text");
  return out;
}

std::string nfd(const std::string& text) { return unicode_form(text, "nfc", UNORM2_DECOMPOSE); }

std::string strip(const std::string& text, bool left, bool right) {
  std::size_t begin = 0, end = text.size();
  while (left && begin < end) {
    std::size_t at = begin;
    if (!is_white_space(next_code_point(text, at))) break;
    begin = at;
  }
  while (right && end > begin) {
    std::size_t start = end - 1;
    while (start > begin && (static_cast<unsigned char>(text[start]) & 0xC0U) == 0x80U) --start;
    std::size_t at = start;
    if (!is_white_space(next_code_point(text, at))) break;
    end = start;
  }
  return text.substr(begin, end - begin);
}

std::string bert(const std::string& text, bool clean, bool space_cjk, bool strip_accents, bool lower) {
  std::string out = each_code_point(text, [&](std::string& to, char32_t code) {
    if (clean && (code == 0 || code == 0xFFFD || is_control(code))) return;
    if (clean && is_white_space(code)) code = ' ';
    const bool alone = space_cjk && is_cjk(code);
    if (alone) to += ' ';
    append_utf8(to, code);
    if (alone) to += ' ';
  });
  if (strip_accents) out = without_marks(nfd(out));
  return lower ? lowercase(out) : out;
}

/// SentencePiece's table: u32 bytes of the trie, the trie (u32 units, little-endian), texts that end in a zero byte.
class CharacterMap {
 public:
  CharacterMap(std::string table, const std::string& where) : table_(std::move(table)) {
    const auto wrong = [&] {
      throw Error(ErrorCode::weights, where, "expected SentencePiece's table of characters, found another or a part");
    };
    if (table_.size() < 4) wrong();
    const std::size_t n_bytes = word(0);
    if (n_bytes % 4 != 0 || n_bytes == 0 || n_bytes > table_.size() - 4) wrong();
    n_units_ = n_bytes / 4;
    texts_ = 4 + n_bytes;
  }

  std::string operator()(const std::string& text) const {
    UErrorCode status = U_ZERO_ERROR;
    const icu::UnicodeString wide = icu::UnicodeString::fromUTF8(text);
    const std::unique_ptr<icu::BreakIterator> cut(
        icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
    if (U_FAILURE(status)) throw Error(ErrorCode::internal, "text/tokens", "ICU cannot find characters");
    cut->setText(wide);
    std::string out;
    std::int32_t begin = cut->first();
    for (std::int32_t end = cut->next(); end != icu::BreakIterator::DONE; begin = end, end = cut->next()) {
      std::string cluster;
      wide.tempSubStringBetween(begin, end).toUTF8String(cluster);
      std::string_view with;
      if (cluster.size() < 6 && find(cluster, with)) {
        out += with;
        continue;
      }
      for (std::size_t at = 0; at < cluster.size();) {
        const std::size_t from = at;
        next_code_point(cluster, at);
        const std::string_view one = std::string_view(cluster).substr(from, at - from);
        out += find(one, with) ? with : one;
      }
    }
    return out;
  }

 private:
  std::uint32_t word(std::size_t at) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
      value |= static_cast<std::uint32_t>(static_cast<unsigned char>(table_[at + i])) << (8 * i);
    return value;
  }
  bool unit(std::size_t i, std::uint32_t& value) const {
    if (i >= n_units_) return false;
    value = word(4 + 4 * i);
    return true;
  }
  static std::size_t offset(std::uint32_t unit) { return std::size_t{unit >> 10} << ((unit & (1U << 9)) >> 6); }

  /// The replacement of the shortest prefix of `key` that has one.
  bool find(std::string_view key, std::string_view& with) const {
    std::uint32_t value = 0;
    if (!unit(0, value)) return false;
    std::size_t at = offset(value);
    for (const char c : key) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte == 0) return false;
      at ^= byte;
      if (!unit(at, value) || (value & ((1U << 31) | 0xFFU)) != byte) return false;
      at ^= offset(value);
      if (((value >> 8) & 1U) == 0) continue;
      if (!unit(at, value)) return false;
      const std::size_t text = texts_ + (value & 0x7FFFFFFFU);
      if (text >= table_.size()) return false;
      with = std::string_view(table_).substr(text);
      with = with.substr(0, with.find('\0'));
      return true;
    }
    return false;
  }

  std::string table_;
  std::size_t n_units_ = 0, texts_ = 0;
};

Pattern pattern_of(const JsonPart& part) {
  const JsonPart pattern = part.at("pattern");
  if (pattern.find("String") != nullptr) return Pattern::plain(pattern.text("String"));
  return Pattern::regex(pattern.text("Regex"), pattern.where + "/Regex");
}

}  // namespace

Normalizer::Normalizer(const JsonPart& part) { add(part, 0); }

void Normalizer::add(const JsonPart& part, int depth) {
  if (part.json.is_null()) return;
  const std::string type = part.type();
  if (type == "Sequence") {
    if (depth > 4) part.refuse("normalizers", "at most four levels");
    std::size_t i = 0;
    for (const auto& step : part.list("normalizers", kMaxSteps))
      add({step, fmt::format("{}/normalizers/{}", part.where, i++)}, depth + 1);
  } else if (type == "NFC" || type == "NFKC" || type == "NFD" || type == "NFKD") {
    const char* data = type.size() == 3 ? "nfc" : "nfkc";
    const UNormalization2Mode mode = type.back() == 'C' ? UNORM2_COMPOSE : UNORM2_DECOMPOSE;
    steps_.emplace_back([data, mode](const std::string& text) { return unicode_form(text, data, mode); });
  } else if (type == "Lowercase") {
    steps_.emplace_back(lowercase);
  } else if (type == "StripAccents") {
    steps_.emplace_back(without_marks);
  } else if (type == "Strip") {
    steps_.emplace_back([left = part.flag("strip_left", true), right = part.flag("strip_right", true)](
                            const std::string& text) { return strip(text, left, right); });
  } else if (type == "BertNormalizer") {
    const bool lower = part.flag("lowercase", true);
    steps_.emplace_back([lower, clean = part.flag("clean_text", true), cjk = part.flag("handle_chinese_chars", true),
                         accents = part.flag("strip_accents", lower)](const std::string& text) {
      return bert(text, clean, cjk, accents, lower);
    });
  } else if (type == "Replace") {
    steps_.emplace_back([pattern = pattern_of(part), with = part.text("content")](const std::string& text) {
      return pattern.replace_all(text, with);
    });
  } else if (type == "Prepend") {
    steps_.emplace_back(
        [with = part.text("prepend")](const std::string& text) { return text.empty() ? text : with + text; });
  } else if (type == "Precompiled") {
    const std::string where = part.where + "/precompiled_charsmap";
    if (part.find("precompiled_charsmap") == nullptr) return;
    steps_.emplace_back(CharacterMap(decode_base64(part.text("precompiled_charsmap"), where), where));
  } else if (type == "Nmt") {
    steps_.emplace_back([](const std::string& text) {
      return each_code_point(text, [](std::string& out, char32_t code) {
        const bool control = (code >= 1 && code <= 8) || code == 0xB || (code >= 0xE && code <= 0x1F) || code == 0x7F ||
                             code == 0x8F || code == 0x9F;
        const bool space = code == 9 || code == 0xA || code == 0xC || code == 0xD || code == 0x1680 ||
                           (code >= 0x200B && code <= 0x200F) || code == 0x2028 || code == 0x2029 || code == 0x2581 ||
                           code == 0xFEFF || code == 0xFFFD;
        if (!control) append_utf8(out, space ? U' ' : code);
      });
    });
  } else {
    part.refuse("type", "a normalizer that is known, not \"" + type.substr(0, 40) + "\"");
  }
}

std::string Normalizer::operator()(std::string text) const {
  for (const Step& step : steps_) text = step(text);
  return text;
}

}  // namespace morph::text
