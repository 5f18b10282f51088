// Readers of published configurations (config.json and its relatives). What is missing, of the wrong type or out of
// range is an Error{weights} that names file, key, what was expected and what was found. Dialects are alternatives of
// one key: the first name that is there counts ("num_experts", "num_local_experts").
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "morph/error.h"

namespace morph::tensor {

/// A small JSON file of a checkpoint, parsed. Depth, bytes and number of values are bounded. Throws Error{weights} when
/// it is absent, no regular file, larger than `max_bytes` or no JSON.
nlohmann::json read_json_file(const std::filesystem::path& file, std::size_t max_bytes = std::size_t{256} << 20);

/// The same of text in memory; `where` is used in errors.
nlohmann::json parse_json(std::string_view text, const std::string& where,
                          std::size_t max_bytes = std::size_t{256} << 20);

/// Whether `file` is there and holds an object whose `key` is the text `value`. Never throws: for recognising.
bool json_file_says(const std::filesystem::path& file, std::string_view key, std::string_view value);

/// A JSON object with the path that its errors name ("FOLDER/config.json/text_config"). Immutable.
class PublishedConfig {
 public:
  using Names = std::initializer_list<std::string_view>;

  /// Throws Error{weights} when the file is absent, too large, too deep or no JSON object.
  static PublishedConfig read(const std::filesystem::path& file);
  /// The same; an empty object when there is no such file.
  static PublishedConfig read_if_there(const std::filesystem::path& file);
  PublishedConfig(nlohmann::json object, std::string where);

  const std::string& where() const { return where_; }
  const nlohmann::json& object() const { return object_; }
  /// Present and not null.
  bool has(Names names) const { return find(names) != nullptr; }

  /// A whole number within [min, max].
  std::int64_t integer(Names names, std::int64_t min, std::int64_t max) const;
  std::int64_t integer(Names names, std::int64_t min, std::int64_t max, std::int64_t otherwise) const;
  /// A finite number within [min, max].
  double number(Names names, double min, double max) const;
  double number(Names names, double min, double max, double otherwise) const;
  bool flag(Names names, bool otherwise) const;
  std::string text(Names names) const;
  std::string text(Names names, std::string_view otherwise) const;
  /// A list of whole numbers within [min, max], not longer than `max_size`.
  std::vector<std::int64_t> integers(Names names, std::int64_t min, std::int64_t max, std::size_t max_size) const;
  /// A list of such lists.
  std::vector<std::vector<std::int64_t>> integer_lists(Names names, std::int64_t min, std::int64_t max,
                                                       std::size_t max_size) const;
  /// An object within this one; a composite's part ("text_config").
  PublishedConfig section(Names names) const;
  PublishedConfig section_if_there(Names names) const;

  /// Ends reading: `good` must hold of the key. For what depends on more than one key.
  void demand(bool good, std::string_view key, const std::string& expected) const;
  [[noreturn]] void refuse(std::string_view key, const std::string& expected) const;

 private:
  const nlohmann::json* find(Names names) const;
  const nlohmann::json& at(Names names, const std::string& expected) const;
  std::string name_of(Names names) const;

  nlohmann::json object_;
  std::string where_;
};

}  // namespace morph::tensor
