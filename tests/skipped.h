// What a test leaves out is said aloud and counted: Catch2 2.x has no SKIP, and a test that returns early passes
// silently.
#pragma once

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace morph::testing {

/// Says that this test case, or a part of it, was not run and why. setup/count_tests.py counts a case with such a line
/// as skipped, not as passed. Use: `if (!there) return skipped("whisper-tiny.en is not fetched");`
inline void skipped(const std::string& why) {
  std::fprintf(stdout, "SKIPPED %s: %s\n", Catch::getResultCapture().getCurrentTestName().c_str(), why.c_str());
  std::fflush(stdout);
}

/// A parity set of the folder MORPH_GOLDEN_DIR; nothing, said aloud, when it is not there.
inline std::optional<std::filesystem::path> golden_set(const std::string& name) {
  const char* folder = std::getenv("MORPH_GOLDEN_DIR");
  if (folder != nullptr && std::filesystem::exists(std::filesystem::path(folder) / name))
    return std::filesystem::path(folder) / name;
  skipped("there is no parity set " + name + " (MORPH_GOLDEN_DIR)");
  return std::nullopt;
}

/// A parity set that the build made by a script of tests/golden: always there.
inline std::filesystem::path own_golden_set(const std::string& name) {
  const char* folder = std::getenv("MORPH_OWN_GOLDEN_DIR");
  REQUIRE(folder != nullptr);
  REQUIRE(std::filesystem::exists(std::filesystem::path(folder) / name / "config.json"));
  return std::filesystem::path(folder) / name;
}

}  // namespace morph::testing
