// Values as text and the typed getters of Params; messages name the parameter, what was expected and what was found.
#include "morph/value.h"

#include <fmt/format.h>

#include "base/nearest.h"
#include "base/value_kind.h"
#include "morph/error.h"

namespace morph {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        else
          out += c;
    }
  }
  return out + '"';
}

template <class T>
const T& get(const Params& params, std::string_view name, std::string_view expected) {
  const Value& value = params.at(name);
  if (const T* found = std::get_if<T>(&value)) return *found;
  throw Error(ErrorCode::config, std::string(name),
              fmt::format("expected {}, found {} {}", expected, value_kind(value), to_string(value)));
}

}  // namespace

std::string_view value_kind(const Value& value) {
  switch (value.index()) {
    case 0:
      return "null";
    case 1:
      return "boolean";
    case 2:
      return "integer";
    case 3:
      return "number";
    case 4:
      return "string";
    default:
      return "list";
  }
}

std::string to_string(const Value& value) {
  if (const bool* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (const std::int64_t* i = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *i);
  if (const double* d = std::get_if<double>(&value)) return fmt::format("{}", *d);
  if (const std::string* s = std::get_if<std::string>(&value)) return quoted(*s);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    std::string out = "[";
    for (std::size_t i = 0; i < list->size(); ++i) out += (i > 0 ? ", " : "") + quoted((*list)[i]);
    return out + "]";
  }
  return "null";
}

bool Params::has(std::string_view name) const {
  const auto found = values_.find(std::string(name));
  return found != values_.end() && !std::holds_alternative<std::monostate>(found->second);
}

const Value& Params::at(std::string_view name) const {
  const auto found = values_.find(std::string(name));
  if (found != values_.end() && !std::holds_alternative<std::monostate>(found->second)) return found->second;
  if (found != values_.end())
    throw Error(ErrorCode::config, std::string(name), "this parameter has no value; give one");
  std::vector<std::string> names;
  for (const auto& [key, value] : values_) names.push_back(key);
  throw Error(ErrorCode::config, std::string(name), "there is no such parameter" + suggest(name, names));
}

bool Params::get_bool(std::string_view name) const { return get<bool>(*this, name, "a boolean"); }

std::int64_t Params::get_int(std::string_view name) const { return get<std::int64_t>(*this, name, "an integer"); }

double Params::get_double(std::string_view name) const {
  const Value& value = at(name);
  if (const std::int64_t* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  return get<double>(*this, name, "a number");
}

const std::string& Params::get_string(std::string_view name) const { return get<std::string>(*this, name, "a string"); }

const std::vector<std::string>& Params::get_list(std::string_view name) const {
  return get<std::vector<std::string>>(*this, name, "a list of strings");
}

}  // namespace morph
