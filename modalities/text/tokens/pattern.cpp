// ICU matches UTF-16; offsets are carried back to bytes. A matcher of our own per call keeps patterns thread-safe.
#include "tokens/pattern.h"

#include <fmt/format.h>
#include <unicode/regex.h>
#include <unicode/unistr.h>

#include "morph/error.h"
#include "tokens/code_points.h"

namespace morph::text {
namespace {

constexpr std::int32_t kTimeLimit = 4000;       // ICU's unit: about a millisecond of matching, for one find
constexpr std::int32_t kStackLimit = 16 << 20;  // bytes for backtracking
constexpr std::size_t kLongestExpression = 64 << 10;
constexpr std::size_t kLongestText = std::size_t{512} << 20;

[[noreturn]] void refuse(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::weights, where, message);
}

}  // namespace

struct Pattern::Regex {
  std::unique_ptr<icu::RegexPattern> pattern;
  std::string where;
};

Pattern Pattern::regex(std::string_view expression, const std::string& where) {
  if (expression.size() > kLongestExpression)
    refuse(where,
           fmt::format("expected an expression of at most {} bytes, found {}", kLongestExpression, expression.size()));
  auto regex = std::make_shared<Regex>();
  regex->where = where;
  UErrorCode status = U_ZERO_ERROR;
  UParseError at{};
  const icu::UnicodeString source =
      icu::UnicodeString::fromUTF8(icu::StringPiece(expression.data(), static_cast<std::int32_t>(expression.size())));
  regex->pattern.reset(icu::RegexPattern::compile(source, 0, at, status));
  if (U_FAILURE(status) || !regex->pattern)
    refuse(where, fmt::format("expected a regular expression, found one that ICU does not take ({}, at {})",
                              u_errorName(status), at.offset));
  Pattern made;
  made.regex_ = std::move(regex);
  return made;
}

Pattern Pattern::plain(std::string text) {
  Pattern made;
  made.plain_ = std::move(text);
  return made;
}

std::vector<Range> Pattern::find_all(std::string_view text) const {
  std::vector<Range> found;
  if (regex_ == nullptr) {
    if (plain_.empty()) return found;
    for (std::size_t at = text.find(plain_); at != text.npos; at = text.find(plain_, at + plain_.size()))
      found.emplace_back(at, at + plain_.size());
    return found;
  }
  if (text.size() > kLongestText) refuse(regex_->where, "expected at most 512 MB of text at once; split it");
  const icu::UnicodeString wide =
      icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())));
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::RegexMatcher> matcher(regex_->pattern->matcher(wide, status));
  if (U_SUCCESS(status)) {
    matcher->setTimeLimit(kTimeLimit, status);
    matcher->setStackLimit(kStackLimit, status);
  }
  std::size_t bytes = 0;
  std::int32_t units = 0;  // `bytes` and `units` name the same place
  const auto to_bytes = [&](std::int32_t unit) {
    while (units < unit && bytes < text.size()) units += next_code_point(text, bytes) > 0xFFFF ? 2 : 1;
    return bytes;
  };
  while (U_SUCCESS(status) && matcher->find(status)) {
    const std::size_t begin = to_bytes(matcher->start(status)), end = to_bytes(matcher->end(status));
    if (end > begin) found.emplace_back(begin, end);
  }
  if (U_FAILURE(status))
    refuse(regex_->where,
           fmt::format("expected an expression that matches in bounded time and memory, found one that does not ({})",
                       u_errorName(status)));
  return found;
}

std::string Pattern::replace_all(std::string_view text, std::string_view with) const {
  std::string out;
  std::size_t at = 0;
  for (const auto& [begin, end] : find_all(text)) {
    out += text.substr(at, begin - at);
    out += with;
    at = end;
  }
  return out += text.substr(at);
}

namespace {

struct Part {
  std::size_t begin, end;
  bool match;
};

std::vector<Part> parts_of(std::string_view text, const std::vector<Range>& matches) {
  std::vector<Part> parts;
  std::size_t at = 0;
  for (const auto& [begin, end] : matches) {
    if (begin > at) parts.push_back({at, begin, false});
    parts.push_back({begin, end, true});
    at = end;
  }
  if (at < text.size()) parts.push_back({at, text.size(), false});
  return parts;
}

std::vector<std::string> join(std::string_view text, const std::vector<Part>& parts, SplitBehaviour behaviour) {
  std::vector<Part> merged;
  bool waiting = false;  // the last of `merged` is a match that joins what follows
  for (const Part& part : parts) {
    const bool joins =
        !merged.empty() && ((behaviour == SplitBehaviour::merged_with_previous && part.match && !merged.back().match) ||
                            (behaviour == SplitBehaviour::merged_with_next && waiting && !part.match) ||
                            (behaviour == SplitBehaviour::contiguous && part.match == merged.back().match));
    if (behaviour == SplitBehaviour::removed && part.match) continue;
    if (joins) {
      merged.back().end = part.end;
      merged.back().match = behaviour == SplitBehaviour::contiguous ? part.match : true;
    } else {
      merged.push_back(part);
    }
    waiting = part.match;
  }
  std::vector<std::string> out;
  for (const Part& part : merged) out.emplace_back(text.substr(part.begin, part.end - part.begin));
  return out;
}

}  // namespace

std::vector<std::string> Pattern::split(std::string_view text, SplitBehaviour behaviour, bool inverted) const {
  std::vector<Part> parts = parts_of(text, find_all(text));
  if (inverted)
    for (Part& part : parts) part.match = !part.match;
  return join(text, parts, behaviour);
}

std::vector<std::string> split_at(std::string_view text, const std::vector<Range>& matches, SplitBehaviour behaviour) {
  return join(text, parts_of(text, matches), behaviour);
}

std::vector<Range> matches_of(std::string_view text, const std::function<bool(char32_t)>& is) {
  std::vector<Range> found;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (is(next_code_point(text, at))) found.emplace_back(begin, at);
  }
  return found;
}

}  // namespace morph::text
