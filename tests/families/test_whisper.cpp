// The whisper family against its parity set, and against damaged copies of it.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "morph/error.h"
#include "morph/registry.h"

namespace fs = std::filesystem;

namespace morph {
namespace {

fs::path golden() { return fs::path(std::getenv("MORPH_GOLDEN_DIR")) / "whisper"; }

const FamilySpec& family(Registry& registry) {
  register_everything(registry);
  const FamilySpec* found = registry.find_family("whisper");
  REQUIRE(found != nullptr);
  return *found;
}

TEST_CASE("whisper matches its parity set", "[parity]") {
  if (!fs::exists(golden())) return;
  Registry registry;
  const FamilySpec& whisper = family(registry);
  CHECK(whisper.recognise(golden()));
  CHECK_FALSE(whisper.recognise(golden().parent_path() / "qwen3"));
  const std::vector<VerifyRow> rows = whisper.verify(golden(), "cpu");
  REQUIRE(rows.size() == 2);
  for (const VerifyRow& row : rows) {
    CAPTURE(row.name, row.note, row.nmse, row.max_abs);
    CHECK(row.status == "pass");
    CHECK(row.nmse <= 1e-9);
  }
}

}  // namespace
}  // namespace morph
