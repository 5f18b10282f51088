// See code_points.h. Classes are ICU's.
#include "tokens/code_points.h"

#include <unicode/uchar.h>

namespace morph::text {

char32_t next_code_point(std::string_view bytes, std::size_t& at) {
  const unsigned lead = static_cast<unsigned char>(bytes[at++]);
  if (lead < 0x80) return lead;
  const std::size_t n_more = lead >= 0xC2 && lead < 0xE0   ? 1
                             : lead >= 0xE0 && lead < 0xF0 ? 2
                             : lead >= 0xF0 && lead < 0xF5 ? 3
                                                           : 0;
  if (n_more == 0) return 0xFFFD;
  char32_t code = lead & (0x3FU >> n_more);
  // The first byte that follows has a range of its own: no overlong forms, no surrogates, nothing beyond U+10FFFF.
  unsigned low = lead == 0xE0   ? 0xA0
                 : lead == 0xF0 ? 0x90
                                : 0x80,
           high = lead == 0xED   ? 0x9F
                  : lead == 0xF4 ? 0x8F
                                 : 0xBF;
  for (std::size_t i = 0; i < n_more; ++i, low = 0x80, high = 0xBF) {
    const unsigned byte = at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0U;
    if (byte < low || byte > high) return 0xFFFD;  // what was read so far is one fault
    code = (code << 6) | (byte & 0x3FU);
    ++at;
  }
  return code;
}

void append_utf8(std::string& to, char32_t code) {
  if (code < 0x80) {
    to += static_cast<char>(code);
  } else if (code < 0x800) {
    to += static_cast<char>(0xC0 | (code >> 6));
    to += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    to += static_cast<char>(0xE0 | (code >> 12));
    to += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    to += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    to += static_cast<char>(0xF0 | (code >> 18));
    to += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    to += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    to += static_cast<char>(0x80 | (code & 0x3F));
  }
}

std::string whole_utf8(std::string_view bytes) {
  std::string whole;
  whole.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) append_utf8(whole, next_code_point(bytes, at));
  return whole;
}

bool is_white_space(char32_t code) { return u_isUWhiteSpace(static_cast<UChar32>(code)) != 0; }

bool is_punctuation(char32_t code) {
  if (code < 128)
    return (code > 32 && code < 48) || (code > 57 && code < 65) || (code > 90 && code < 97) ||
           (code > 122 && code < 127);
  return (U_GET_GC_MASK(static_cast<UChar32>(code)) & U_GC_P_MASK) != 0;
}

bool is_numeric(char32_t code) { return (U_GET_GC_MASK(static_cast<UChar32>(code)) & U_GC_N_MASK) != 0; }

bool is_mark(char32_t code) { return u_charType(static_cast<UChar32>(code)) == U_NON_SPACING_MARK; }

bool is_control(char32_t code) {
  if (code == '\t' || code == '\n' || code == '\r') return false;
  return (U_GET_GC_MASK(static_cast<UChar32>(code)) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0;
}

bool is_cjk(char32_t code) {
  return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
         (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B73F) ||
         (code >= 0x2B740 && code <= 0x2B81F) || (code >= 0x2B920 && code <= 0x2CEAF) ||
         (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x2F800 && code <= 0x2FA1F);
}

}  // namespace morph::text
