// Compiles and applies rewriting rules with ICU's regular expressions.
#include "morph/speech_rules.h"

#include <unicode/regex.h>
#include <unicode/unistr.h>

#include "morph/error.h"

namespace morph::text {

namespace {
struct CompiledRule {
  SpeechRule rule;
  std::unique_ptr<icu::RegexPattern> pattern;
};

std::string utf8_of(const icu::UnicodeString& text) {
  std::string utf8;
  text.toUTF8String(utf8);
  return utf8;
}

icu::UnicodeString apply_one(const CompiledRule& compiled, const icu::UnicodeString& text) {
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::RegexMatcher> matcher(compiled.pattern->matcher(text, status));
  icu::UnicodeString out;
  int32_t copied = 0;
  while (U_SUCCESS(status) && matcher->find(status)) {
    RuleMatch groups;
    for (int32_t group = 0; group <= matcher->groupCount(); ++group)
      groups.push_back(utf8_of(matcher->group(group, status)));
    const int32_t start = matcher->start(status), end = matcher->end(status);
    out.append(text, copied, start - copied);
    const std::string said = compiled.rule.say(groups);
    out.append(icu::UnicodeString::fromUTF8(said));
    copied = end;
  }
  if (U_FAILURE(status))
    throw Error(
        ErrorCode::resource, std::string("audio/speech_text/") + compiled.rule.name,
        std::string("this text cannot be made speakable (") + u_errorName(status) + "); give it in shorter parts");
  out.append(text, copied, text.length() - copied);
  return out;
}
}  // namespace

struct SpeechRules::Impl {
  std::vector<CompiledRule> rules;
};

SpeechRules::SpeechRules(std::vector<SpeechRule> rules) : impl_(std::make_unique<Impl>()) {
  for (SpeechRule& rule : rules) {
    UErrorCode status = U_ZERO_ERROR;
    UParseError where{};
    const icu::UnicodeString source = icu::UnicodeString::fromUTF8(rule.pattern);
    std::unique_ptr<icu::RegexPattern> pattern(icu::RegexPattern::compile(source, UREGEX_MULTILINE, where, status));
    if (U_FAILURE(status))
      throw Error(ErrorCode::internal, std::string("audio/speech_text/") + rule.name,
                  std::string("pattern does not compile: ") + u_errorName(status));
    impl_->rules.push_back({std::move(rule), std::move(pattern)});
  }
}
SpeechRules::~SpeechRules() = default;
SpeechRules::SpeechRules(SpeechRules&&) noexcept = default;

std::string SpeechRules::apply(std::string_view text) const {
  icu::UnicodeString current =
      icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  for (const CompiledRule& rule : impl_->rules) current = apply_one(rule, current);
  return utf8_of(current);
}

SpeechRule fixed_rule(const char* name, const char* pattern, std::string replacement) {
  return {name, pattern, [said = std::move(replacement)](const RuleMatch&) { return said; }};
}

}  // namespace morph::text
