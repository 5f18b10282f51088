// See endpoint.h.
#include "graph/endpoint.h"

#include <algorithm>

namespace morph {

bool valid_name(std::string_view name) {
  constexpr std::size_t kLongest = 64;
  return !name.empty() && name.size() <= kLongest && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

bool valid_path_name(std::string_view name) {
  while (true) {
    const std::size_t slash = name.find('/');
    if (slash == name.npos) {
      // Names of models and versions are no part of these names, so a dot would only be a way out of the folder.
      return valid_name(name);
    }
    if (!valid_name(name.substr(0, slash))) return false;
    name.remove_prefix(slash + 1);
  }
}

std::optional<Endpoint> split_endpoint(std::string_view text) {
  const std::size_t dot = text.rfind('.');
  if (dot == text.npos) return std::nullopt;
  const std::string_view stage = text.substr(0, dot), port = text.substr(dot + 1);
  if (!valid_path_name(stage) || !valid_name(port)) return std::nullopt;
  return Endpoint{std::string(stage), std::string(port)};
}

}  // namespace morph
