// Fields of a tokenizer.json's objects, with errors that name the path of the key.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "morph/error.h"

namespace morph::text {

/// A part of the document and its path ("tokenizer.json/normalizer"). A view: the document outlives it.
struct JsonPart {
  const nlohmann::json& json;
  std::string where;

  [[noreturn]] void refuse(std::string_view key, const std::string& expected) const {
    throw Error(ErrorCode::weights, where + (key.empty() ? "" : "/" + std::string(key)),
                "expected " + expected + ", found something else; fetch the file again");
  }
  const nlohmann::json* find(std::string_view key) const {
    if (!json.is_object()) return nullptr;
    const auto found = json.find(key);
    return found == json.end() || found->is_null() ? nullptr : &*found;
  }
  JsonPart at(std::string_view key) const {
    const nlohmann::json* found = find(key);
    if (found == nullptr) refuse(key, "this key");
    return {*found, where + "/" + std::string(key)};
  }
  std::string type() const { return text("type"); }
  std::string text(std::string_view key) const {
    const JsonPart part = at(key);
    if (!part.json.is_string()) refuse(key, "text");
    return part.json.get<std::string>();
  }
  std::string text(std::string_view key, std::string_view otherwise) const {
    return find(key) == nullptr ? std::string(otherwise) : text(key);
  }
  bool flag(std::string_view key, bool otherwise) const {
    const nlohmann::json* found = find(key);
    if (found == nullptr) return otherwise;
    if (!found->is_boolean()) refuse(key, "true or false");
    return found->get<bool>();
  }
  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max) const {
    const JsonPart part = at(key);
    if (!part.json.is_number_integer() || part.json.get<std::int64_t>() < min || part.json.get<std::int64_t>() > max)
      refuse(key, fmt::format("a whole number from {} to {}", min, max));
    return part.json.get<std::int64_t>();
  }
  const nlohmann::json& list(std::string_view key, std::size_t max_size) const {
    const JsonPart part = at(key);
    if (!part.json.is_array() || part.json.size() > max_size)
      refuse(key, fmt::format("a list of at most {}", max_size));
    return part.json;
  }
};

constexpr int kMaxTokens = 1 << 22;    ///< ids of one vocabulary
constexpr std::size_t kMaxSteps = 64;  ///< parts of one Sequence

}  // namespace morph::text
