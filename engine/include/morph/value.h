// Value: what a parameter or a format field holds; Params: named values with typed getters.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace morph {

using Value = std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<std::string>>;

/// JSON-like text of a value ("16000", "\"s16\"", "[\"a\"]"; monostate is "null").
std::string to_string(const Value& value);

/// Named values of a stage or pipeline. Getters throw Error{config} when the name is missing or of another type
/// (an integer is accepted where a double is asked for).
class Params {
 public:
  Params() = default;
  explicit Params(std::map<std::string, Value> values) : values_(std::move(values)) {}

  bool has(std::string_view name) const;  ///< present and not null
  const Value& at(std::string_view name) const;
  bool get_bool(std::string_view name) const;
  std::int64_t get_int(std::string_view name) const;
  double get_double(std::string_view name) const;
  const std::string& get_string(std::string_view name) const;
  const std::vector<std::string>& get_list(std::string_view name) const;

  void set(std::string name, Value value) { values_[std::move(name)] = std::move(value); }
  const std::map<std::string, Value>& values() const { return values_; }

 private:
  std::map<std::string, Value> values_;
};

}  // namespace morph
