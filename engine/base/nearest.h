// Nearest names: what a user may have meant by a name that does not exist. Used by every "unknown ..." message.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace morph {

/// Number of insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// At most `limit` of `names` that are near `wanted` (few edits, or one holds the other), nearest first, ties by name.
std::vector<std::string> nearest_names(std::string_view wanted, const std::vector<std::string>& names,
                                       std::size_t limit = 3);

/// "; did you mean \"a\" or \"b\"?" or, when nothing is near, "; there are: a, b, c, ..." or "" for no names at all.
std::string suggest(std::string_view wanted, const std::vector<std::string>& names);

}  // namespace morph
