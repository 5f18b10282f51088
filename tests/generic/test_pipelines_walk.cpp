// Walks pipelines/: every document parses under its own name, round-trips, and compiles, or misses only its models.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "morph/engine.h"

using namespace morph;

TEST_CASE("every pipeline of the checkout compiles, or misses only its models", "[unit]") {
  const char* const source = std::getenv("MORPH_SOURCE_DIR");
  REQUIRE(source != nullptr);
  const std::filesystem::path folder = std::filesystem::path(source) / "pipelines";
  REQUIRE(std::filesystem::is_directory(folder));
  EngineOptions options;
  options.pipeline_folders = {folder};
  Engine engine(options, register_everything);
  std::size_t n_files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::filesystem::path& file = entry.path();
    if (file.extension() != ".json" || file.filename() == "schema.json") continue;
    if (file.string().find("/presets/") != std::string::npos) continue;
    ++n_files;
    INFO(file);
    const Pipeline pipeline = load_pipeline(file);
    CHECK(pipeline.name == std::filesystem::relative(file, folder).replace_extension().string());
    CHECK_FALSE(pipeline.help.empty());
    CHECK(to_json(parse_pipeline(to_json(pipeline), "again")) == to_json(pipeline));
    CHECK(pipeline_params(pipeline, engine.registry(), engine.pipelines()).size() == pipeline.params.size());
    for (const Diagnostic& each : engine.compile(pipeline, {}).diagnostics) {
      INFO(each.where << ": " << each.message);
      CHECK((each.severity != Diagnostic::Severity::error || each.code == ErrorCode::weights));
    }
  }
  CHECK(n_files == engine.pipelines().all().size());
}
