// Base64 (RFC 4648), as tokenizer files use it.
#pragma once

#include <string>
#include <string_view>

namespace morph::text {

/// Bytes of base64 text. Throws Error{weights} at `where` for other characters or a broken end.
std::string decode_base64(std::string_view text, const std::string& where);

}  // namespace morph::text
