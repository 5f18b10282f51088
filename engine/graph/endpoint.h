// "stage.port" and "stage.param": how documents name a place in a pipeline, and which names are allowed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace morph {

struct Endpoint {
  std::string stage;  ///< may be "outer/inner" for a parameter of a nested pipeline's stage
  std::string port;
};

/// Splits at the last dot; nothing when either side is no valid name.
std::optional<Endpoint> split_endpoint(std::string_view text);

/// Letters, digits, '_' and '-', not empty, at most 64 long.
bool valid_name(std::string_view name);
/// valid_name() parts joined by single slashes: "audio-to-text/transcribe".
bool valid_path_name(std::string_view name);

}  // namespace morph
