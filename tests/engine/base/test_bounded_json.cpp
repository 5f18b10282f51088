// Documents from elsewhere: what is too deep, too many or too long is refused before it is built; files that are none
// are refused by what they are.
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/bounded_json.h"
#include "morph/regular_file.h"

namespace fs = std::filesystem;

namespace morph {
namespace {

std::string repeated(std::string_view text, std::size_t n) {
  std::string all;
  for (std::size_t i = 0; i < n; ++i) all += text;
  return all;
}

std::string refusal(const std::string& text, const JsonLimits& limits) {
  try {
    parse_bounded_json(text, limits, ErrorCode::weights, "there");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::weights);
    CHECK(error.where() == "there");
    return error.message();
  }
  return {};
}

int depth_of(const nlohmann::json& value) {
  int deepest = 0;
  if (value.is_structured())
    for (const nlohmann::json& each : value) deepest = std::max(deepest, depth_of(each));
  return deepest + (value.is_structured() ? 1 : 0);
}

std::uint64_t values_of(const nlohmann::json& value) {
  std::uint64_t n = 0;
  if (value.is_structured())
    for (const nlohmann::json& each : value) n += 1 + values_of(each);
  return n;
}

TEST_CASE("JSON that is too deep, too many or too long is refused before it is built", "[unit][hostile]") {
  const JsonLimits limits{1 << 20, 8, 1000};
  using Catch::Contains;
  CHECK_THAT(refusal(repeated("[", 9) + repeated("]", 9), limits), Contains("nested"));
  CHECK_THAT(refusal(repeated("{\"a\":", 500'000), {64u << 20, 64, 1u << 30}), Contains("nested"));
  CHECK_THAT(refusal("[" + repeated("1,", 1000) + "1]", limits), Contains("values"));
  CHECK_THAT(refusal("[" + repeated("[],", 1000) + "[]]", limits), Contains("values"));
  CHECK_THAT(refusal("\"" + std::string(1 << 20, 'x') + "\"", limits), Contains("bytes"));
  CHECK_THAT(refusal("{\"a\": 1,}", limits), Contains("JSON"));
  CHECK_THAT(refusal("[1e99999]", limits), Contains("JSON"));
  CHECK_THAT(refusal("\"\xff\"", limits), Contains("JSON"));
  CHECK_THAT(refusal("", limits), Contains("JSON"));
  // Brackets and commas in strings are text, quotes behind a backslash end none.
  CHECK(refusal(R"({"a": "[[[[[[[[[[{{{{,,,,\"[[[[[[[[[[", "b": "\\"})", limits).empty());
  CHECK(refusal(repeated("[", 8) + repeated("]", 8), limits).empty());
}

TEST_CASE("the bounds hold for what is built", "[unit][hostile]") {
  std::mt19937 random(7);
  const JsonLimits limits{1 << 16, 6, 60};
  int n_built = 0;
  const std::string letters = R"([]{},:"\ 1a)";
  for (int i = 0; i < 20000; ++i) {
    // Half of them documents with a change, half of them noise.
    std::string text = i % 2 == 0 ? R"({"a":[1,{"b":[[2],"c\"]"]}],"d":{"e":{}}})" : std::string();
    for (unsigned n = random() % 12; i % 2 == 1 && text.size() < n;) text += letters[random() % letters.size()];
    for (unsigned n = random() % 4; i % 2 == 0 && n > 0; --n)
      text.insert(random() % text.size(), 1, letters[random() % letters.size()]);
    try {
      const nlohmann::json document = parse_bounded_json(text, limits, ErrorCode::format, "");
      ++n_built;
      CHECK(depth_of(document) <= limits.depth);
      CHECK(values_of(document) <= limits.values);
    } catch (const Error&) {
    }
  }
  CHECK(n_built > 1000);
}

TEST_CASE("what is no regular file is refused by what it is, at once", "[unit][hostile]") {
  std::string name = (fs::temp_directory_path() / "morph-regular-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  const fs::path folder = name;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  std::ofstream(folder / "file") << "content";
  fs::create_symlink("pipe", folder / "to-pipe");
  fs::create_symlink("file", folder / "to-file");
  fs::create_symlink("absent", folder / "to-nothing");
  const auto found = [&](const fs::path& path) -> std::string {
    try {
      return "content " + read_regular_file(path, 1 << 20, ErrorCode::weights);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::weights);
      CHECK(error.where() == path.string());
      return error.message();
    }
  };
  using Catch::Contains;
  CHECK_THAT(found(folder / "pipe"), Contains("a named pipe"));
  CHECK_THAT(found(folder / "to-pipe"), Contains("a named pipe"));
  CHECK_THAT(found(folder), Contains("a folder"));
  CHECK_THAT(found("/dev/zero"), Contains("a device"));
  CHECK_THAT(found(folder / "absent"), Contains("nothing"));
  CHECK_THAT(found(folder / "to-nothing"), Contains("nothing"));
  CHECK(found(folder / "file") == "content content");
  CHECK(found(folder / "to-file") == "content content");
  CHECK_THROWS_WITH(read_regular_file(folder / "file", 6, ErrorCode::format), Contains("at most 6 bytes"));
  CHECK_FALSE(read_regular_file("/proc/self/status", 1 << 20, ErrorCode::format).empty());  // says a size of 0
  fs::remove_all(folder);
}

}  // namespace
}  // namespace morph
