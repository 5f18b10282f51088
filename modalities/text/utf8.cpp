// See utf8.h.
#include "utf8.h"

#include <algorithm>

namespace morph::text {
namespace {

/// Length of the character at `at`; 0 when bad; negative when the text ends inside it.
int length_at(std::string_view bytes, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return 1;
  const int length = lead >= 0xC2 && lead <= 0xDF   ? 2
                     : lead >= 0xE0 && lead <= 0xEF ? 3
                     : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                    : 0;
  if (length == 0) return 0;
  for (int i = 1; i < length; ++i) {
    if (at + static_cast<std::size_t>(i) >= bytes.size()) return -length;
    unsigned char low = 0x80, high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    const unsigned char next = byte(at + static_cast<std::size_t>(i));
    if (next < low || next > high) return 0;
  }
  return length;
}

}  // namespace

std::optional<Utf8Fault> find_utf8_fault(std::string_view bytes) {
  Utf8Fault fault;
  for (std::size_t at = 0; at < bytes.size();) {
    const int length = length_at(bytes, at);
    if (length <= 0) {
      fault.offset = at;
      fault.incomplete = length < 0;
      return fault;
    }
    if (bytes[at] == '\n') ++fault.line;
    at += static_cast<std::size_t>(length);
  }
  return std::nullopt;
}

std::string take_whole_utf8(std::string& held) {
  std::string whole;
  for (;;) {
    const std::optional<Utf8Fault> fault = find_utf8_fault(held);
    whole += held.substr(0, fault ? fault->offset : held.size());
    if (!fault) {
      held.clear();
      return whole;
    }
    held.erase(0, fault->offset);
    if (fault->incomplete) return whole;
    whole += "\xEF\xBF\xBD";
    held.erase(0, 1);
  }
}

std::size_t utf8_boundary(std::string_view text, std::size_t limit) {
  std::size_t n = std::min(limit, text.size());
  while (n > 0 && n < text.size() && (static_cast<unsigned char>(text[n]) & 0xC0u) == 0x80u) --n;
  return n;
}

}  // namespace morph::text
