// Bounds of JSON that comes from elsewhere: building, copying and destroying a document takes a stack as deep as the
// document, and a hundred times its bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace morph {

struct JsonLimits {
  std::uint64_t bytes = 16u << 20;
  int depth = 64;
  std::uint64_t values = 1u << 20;  ///< elements of all arrays and objects together: 100 bytes of memory or so each
};

/// For vocabularies: half a million tokens and their merges.
constexpr JsonLimits kVocabularyLimits{64u << 20, 64, 1u << 22};

/// What `text` has too much of ("expected at most ..., found ..."); empty when it is within the limits. Reads each byte
/// once and takes no memory. `text` need not be JSON.
std::string json_excess(std::string_view text, const JsonLimits& limits);

}  // namespace morph
