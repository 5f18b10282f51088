// See json_value.h.
#include "base/json_value.h"

#include <cstdint>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

namespace morph {

Json to_json_value(const Value& value) {
  return std::visit(
      [](const auto& held) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::monostate>)
          return nullptr;
        else
          return held;
      },
      value);
}

std::optional<Value> from_json_value(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return Value{};
    case Json::value_t::boolean:
      return Value{json.get<bool>()};
    case Json::value_t::number_integer:
      return Value{json.get<std::int64_t>()};
    case Json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
      return Value{json.get<std::int64_t>()};
    case Json::value_t::number_float:
      return Value{json.get<double>()};
    case Json::value_t::string:
      return Value{json.get<std::string>()};
    case Json::value_t::array: {
      std::vector<std::string> list;
      for (const Json& item : json) {
        if (!item.is_string()) return {};
        list.push_back(item.get<std::string>());
      }
      return Value{std::move(list)};
    }
    default:
      return {};
  }
}

Json to_json_value(const Params& params) {
  Json json = Json::object();
  for (const auto& [name, value] : params.values()) json[name] = to_json_value(value);
  return json;
}

Json to_json_value(const Format& format) {
  Json json = {{"type", format.type}};
  if (!format.fields.empty()) json["fields"] = to_json_value(Params(format.fields));
  return json;
}

std::string dump_json(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

}  // namespace morph
