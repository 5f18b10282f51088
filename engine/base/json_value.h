// Values to and from JSON, for documents, explanations and golden files of the engine.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "morph/format.h"
#include "morph/value.h"

namespace morph {

using Json = nlohmann::ordered_json;

Json to_json_value(const Value& value);
/// Nothing when the JSON is an object, a list of anything but strings, or an integer beyond 64 bits.
std::optional<Value> from_json_value(const Json& json);
Json to_json_value(const Params& params);
Json to_json_value(const Format& format);
/// Two-space indented text; bytes that are no UTF-8 are replaced.
std::string dump_json(const Json& json);

}  // namespace morph
