// Any bytes as JSON from elsewhere: within the bounds it is parsed, and what is built keeps them; else an Error says
// why not. Read as what the project reads: a tokenizer, a voice's settings, a listing.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/bounded_json.h"
#include "morph/message.h"

namespace {

std::uint64_t check(const nlohmann::json& value, int depth) {
  if (depth < 0) std::abort();
  std::uint64_t n = 1;
  if (value.is_structured())
    for (const nlohmann::json& each : value) n += check(each, depth - 1);
  return n;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace morph;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const JsonLimits limits{1 << 16, 12, 500};
  const std::string shown = shown_text(text);
  if (std::any_of(shown.begin(), shown.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
    std::abort();
  if (shown_text(shown) != shown) std::abort();
  try {
    const nlohmann::json document = parse_bounded_json(text, limits, ErrorCode::format, "fuzz");
    if (check(document, limits.depth) > limits.values + 1) std::abort();
    (void)document.dump();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::format) std::abort();
  }
  return 0;
}
