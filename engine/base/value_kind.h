// The kind of a Value as error messages name it.
#pragma once

#include <string_view>

#include "morph/value.h"

namespace morph {

/// "null", "boolean", "integer", "number", "string" or "list".
std::string_view value_kind(const Value& value);

}  // namespace morph
