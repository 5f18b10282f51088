// Reads tests/cases/**/*.case: blocks of "key: value" lines separated by blank lines; '#' starts a comment line.
#pragma once

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace morph::testing {

using CaseBlock = std::vector<std::pair<std::string, std::string>>;

/// `name` is relative to tests/cases. Throws when the file is missing or empty, so that a moved file fails its test.
inline std::vector<CaseBlock> read_cases(const std::string& name) {
  const char* source = std::getenv("MORPH_SOURCE_DIR");
  const std::string path = std::string(source == nullptr ? "." : source) + "/tests/cases/" + name;
  std::ifstream file(path);
  std::vector<CaseBlock> blocks(1);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    const auto colon = line.find(':');
    if (line.empty() || colon == std::string::npos) {
      if (!blocks.back().empty()) blocks.emplace_back();
      continue;
    }
    const auto value = line.find_first_not_of(' ', colon + 1);
    blocks.back().emplace_back(line.substr(0, colon), value == std::string::npos ? "" : line.substr(value));
  }
  if (blocks.back().empty()) blocks.pop_back();
  if (blocks.empty()) throw std::runtime_error("no cases in " + path);
  return blocks;
}

}  // namespace morph::testing
