// The named normaliser "speech-text-en" v1: tables of rules in a fixed order. A change of what is said for a text is a
// new version.
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "morph/error.h"
#include "morph/speech_rules.h"
#include "morph/speech_text.h"

namespace morph::text {
namespace {

std::vector<SpeechRule> rules_for(bool english) {
  std::vector<SpeechRule> rules = markup_rules();
  const auto add = [&rules](std::vector<SpeechRule> more) {
    for (SpeechRule& rule : more) rules.push_back(std::move(rule));
  };
  if (english) {
    add(english_abbreviation_rules());
    add(english_number_rules());
    add(english_symbol_rules());
  }
  add(punctuation_rules());
  return rules;
}

/// With a space in runs of more than kMaxRun characters without one: no word is that long, and patterns that look ahead
/// over a whole word stay quick.
icu::UnicodeString broken(const icu::UnicodeString& text) {
  constexpr int32_t kMaxRun = 400;
  icu::UnicodeString out;
  int32_t run = 0;
  for (int32_t i = 0; i < text.length(); ++i) {
    const char16_t unit = text[i];
    run = u_isUWhiteSpace(unit) ? 0 : run + 1;
    if (run > kMaxRun && !U16_IS_TRAIL(unit)) {
      out.append(u' ');
      run = 1;
    }
    out.append(unit);
  }
  return out;
}

std::string composed(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  if (U_FAILURE(status))
    throw Error(ErrorCode::internal, "audio/speech_text", std::string("ICU has no NFC data: ") + u_errorName(status));
  const icu::UnicodeString source =
      icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  std::string utf8;
  broken(nfc->normalize(source, status)).toUTF8String(utf8);
  return utf8;
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

}  // namespace

struct SpeechNormaliser::Impl {
  explicit Impl(bool is_english) : english(is_english), rules(rules_for(is_english)) {}
  bool english;
  SpeechRules rules;
};

SpeechNormaliser::SpeechNormaliser(std::string_view language)
    : impl_(std::make_unique<Impl>(language.substr(0, 2) == "en")) {}
SpeechNormaliser::~SpeechNormaliser() = default;
SpeechNormaliser::SpeechNormaliser(SpeechNormaliser&&) noexcept = default;
SpeechNormaliser& SpeechNormaliser::operator=(SpeechNormaliser&&) noexcept = default;

std::string SpeechNormaliser::operator()(std::string_view text) const {
  const std::string spoken = trimmed(impl_->rules.apply(composed(text)));
  // Marks alone are nothing to say.
  for (char c : spoken)
    if ((c & 0x80) != 0 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return spoken;
  return {};
}

std::string_view SpeechNormaliser::name() const { return impl_->english ? "speech-text-en/1" : "speech-text/1"; }

}  // namespace morph::text
