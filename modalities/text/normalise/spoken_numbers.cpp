// ICU's spell-out rules behind plain strings.
#include "normalise/spoken_numbers.h"

#include <unicode/fieldpos.h>
#include <unicode/locid.h>
#include <unicode/rbnf.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>

#include "morph/error.h"

namespace morph::text {

struct SpokenNumbers::Impl {
  UErrorCode status = U_ZERO_ERROR;
  icu::RuleBasedNumberFormat format{icu::URBNF_SPELLOUT, icu::Locale::getUS(), status};

  std::string spell(std::int64_t n, const char* rule) const {
    icu::UnicodeString words;
    icu::FieldPosition position;
    UErrorCode failed = U_ZERO_ERROR;
    format.format(n, icu::UnicodeString::fromUTF8(rule), words, position, failed);
    if (U_FAILURE(failed))
      throw Error(ErrorCode::internal, "audio/speech_text", std::string("ICU cannot spell: ") + u_errorName(failed));
    std::string utf8;
    words.toUTF8String(utf8);
    return utf8;
  }
};

SpokenNumbers::SpokenNumbers() : impl_(std::make_unique<Impl>()) {
  if (U_FAILURE(impl_->status))
    throw Error(ErrorCode::internal, "audio/speech_text",
                std::string("ICU has no spell-out rules for en-US: ") + u_errorName(impl_->status));
}
SpokenNumbers::~SpokenNumbers() = default;

std::string SpokenNumbers::cardinal(std::int64_t n) const { return impl_->spell(n, "%spellout-cardinal"); }
std::string SpokenNumbers::ordinal(std::int64_t n) const { return impl_->spell(n, "%spellout-ordinal"); }

std::string SpokenNumbers::year(std::int64_t n) const {
  std::string words = impl_->spell(n, "%spellout-numbering-year");
  if (const auto oh = words.find("oh-"); oh != std::string::npos) words[oh + 2] = ' ';
  return words;
}

std::string SpokenNumbers::digit_by_digit(std::string_view digits) {
  static constexpr std::array<std::string_view, 10> kNames{"zero", "one", "two",   "three", "four",
                                                           "five", "six", "seven", "eight", "nine"};
  std::string words;
  for (char c : digits) {
    if (c < '0' || c > '9') continue;
    if (!words.empty()) words += ' ';
    words += kNames[static_cast<std::size_t>(c - '0')];
  }
  return words;
}

std::string SpokenNumbers::number(std::string_view digits) const {
  std::string whole(digits.substr(0, digits.find('.')));
  std::erase(whole, ',');
  std::string words;
  if (whole.empty()) {
    words = "zero";
  } else if (whole.size() > 15 || (whole.size() > 1 && whole.front() == '0')) {
    words = digit_by_digit(whole);
  } else {
    words = cardinal(std::stoll(whole));
  }
  if (const auto point = digits.find('.'); point != std::string_view::npos && point + 1 < digits.size())
    words += " point " + digit_by_digit(digits.substr(point + 1));
  return words;
}

std::string SpokenNumbers::plural(std::string words) {
  if (words.ends_with('y') && !words.ends_with("ay")) {
    words.pop_back();
    return words + "ies";
  }
  if (words.ends_with('x') || words.ends_with('s') || words.ends_with("ch")) return words + "es";
  return words + "s";
}

}  // namespace morph::text
