// Text as code points and back, and the classes of characters that tokenizers speak of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace morph::text {

/// One code point of `bytes` at `at`, which moves past it; U+FFFD for bytes that begin a character and do not end it,
/// or for one that begins none.
char32_t next_code_point(std::string_view bytes, std::size_t& at);
void append_utf8(std::string& to, char32_t code);
/// Bytes that are no UTF-8 replaced by U+FFFD.
std::string whole_utf8(std::string_view bytes);

bool is_white_space(char32_t code);
/// ASCII's marks and symbols, and Unicode's punctuation.
bool is_punctuation(char32_t code);
bool is_numeric(char32_t code);  ///< Nd, Nl, No
bool is_mark(char32_t code);     ///< Mn
bool is_control(char32_t code);  ///< Cc, Cf, Co, but for tab and line ends
bool is_cjk(char32_t code);      ///< the ideographs that BERT spaces out

}  // namespace morph::text
