// UTF-8: where it is broken, how much of a growing text is whole. Unicode 15, table 3-7 (no surrogates, no overlong
// forms).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace morph::text {

struct Utf8Fault {
  std::size_t offset = 0;   ///< of the first bad byte
  std::size_t line = 1;     ///< counted from 1
  bool incomplete = false;  ///< the text ends inside a character; more bytes could mend it
};

/// The first fault, or nothing when all of it is UTF-8.
std::optional<Utf8Fault> find_utf8_fault(std::string_view bytes);

/// Takes from the front of `held` what is whole; a character that has only begun stays. Bytes that can never become a
/// character are replaced by U+FFFD.
std::string take_whole_utf8(std::string& held);

/// Largest n <= `limit` that is not inside a character.
std::size_t utf8_boundary(std::string_view text, std::size_t limit);

}  // namespace morph::text
