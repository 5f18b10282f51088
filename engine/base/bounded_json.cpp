// See bounded_json.h. The count is from above: every value is followed by a comma or ends its container, so commas and
// openings together are at least as many as values.
#include "base/bounded_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "morph/regular_file.h"

namespace morph {

std::string json_excess(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes)
    return fmt::format("expected at most {} bytes of JSON, found {}", limits.bytes, text.size());
  std::uint64_t values = 0;
  std::int64_t depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) switch (text[i]) {
      case '"':
        for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\' ? 1 : 0;
        break;
      case '[':
      case '{':
        if (++depth > limits.depth)
          return fmt::format("expected JSON nested at most {} deep, found more", limits.depth);
        [[fallthrough]];
      case ',':
        if (++values > limits.values)
          return fmt::format("expected JSON of at most {} values, found more", limits.values);
        break;
      case ']':
      case '}':
        --depth;
        break;
      default:
        break;
    }
  return {};
}

nlohmann::json parse_bounded_json(std::string_view text, const JsonLimits& limits, ErrorCode code,
                                  const std::string& where) {
  const char* advice = code == ErrorCode::weights ? "; the file is damaged or not what it claims to be: fetch it again"
                                                  : "; it is damaged or not what it claims to be";
  if (const std::string excess = json_excess(text, limits); !excess.empty()) throw Error(code, where, excess + advice);
  nlohmann::json document = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (document.is_discarded())
    throw Error(code, where, std::string("expected JSON in UTF-8, found other text") + advice);
  return document;
}

nlohmann::json read_bounded_json(const std::filesystem::path& file, const JsonLimits& limits, ErrorCode code) {
  return parse_bounded_json(read_regular_file(file, limits.bytes, code), limits, code, file.string());
}

}  // namespace morph
