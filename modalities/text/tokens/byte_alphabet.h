// GPT-2's alphabet of bytes: each byte as a printable character, so that vocabularies of bytes can be written as text.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace morph::text {

/// Each byte of `bytes` as its character.
std::string spell_bytes(std::string_view bytes);
/// The bytes that a spelled token stands for; characters outside the alphabet stay as they are.
std::string unspell_bytes(std::string_view token);

}  // namespace morph::text
