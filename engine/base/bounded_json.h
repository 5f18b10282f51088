// JSON that comes from elsewhere (checkpoints, hubs, records of provenance): its bytes, depth and number of values are
// counted before anything is built from it.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "morph/error.h"
#include "morph/json_limits.h"

namespace morph {

/// Throws Error{code} at `where` for text beyond the limits and for what is not JSON in UTF-8.
nlohmann::json parse_bounded_json(std::string_view text, const JsonLimits& limits, ErrorCode code,
                                  const std::string& where);

/// The same of a regular file (see regular_file.h).
nlohmann::json read_bounded_json(const std::filesystem::path& file, const JsonLimits& limits, ErrorCode code);

}  // namespace morph
