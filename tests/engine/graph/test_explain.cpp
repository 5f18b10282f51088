// The three explanations of a plan.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/graph/compile_fixture.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace {
std::shared_ptr<const Plan> nested_plan(Compiler& compiler) {
  compiler.folder.write("sound-to-words/hear.json", kHear);
  compiler.options.bindings = {{"sound", "sound/read", {}}};
  return compiler.plan(document(
      R"("sub": {"pipeline": "sound-to-words/hear"}, "preview": {"stage": "sound/preview"}, "idle": {"stage": "words/rewrite"})",
      R"({"from": "sub.words", "to": "idle.in"})",
      R"("help": "Hears <things> & \"more\".", "inputs": {"sound": {"type": "sound", "to": ["sub.sound", "preview.in"]}},
         "outputs": {"words": {"type": "words", "from": "sub.words"}}, )"));
}
}  // namespace

TEST_CASE("the text shows stages, formats, converters and memory in 100 columns", "[unit]") {
  Compiler compiler;
  const std::string text = explain_text(*nested_plan(compiler));
  CAPTURE(text);
  CHECK_THAT(text, Contains("sound-to-words/test: 3 stages and 2 converters (+), 4 threads"));
  CHECK_THAT(text, Contains("+ mix#1"));
  CHECK_THAT(text, Contains("└─ sound/pcm {channels: 1, rate: 16000} → sub/hear.sound"));
  CHECK_THAT(text, Contains("(read by the program)"));
  CHECK_THAT(text, Contains("381 MiB"));
  CHECK_THAT(text, Contains("left out: idle"));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t columns = 0;
    for (const char c : line) columns += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
    CHECK(columns <= 100);
  }
}

TEST_CASE("the JSON holds the graph and the document", "[unit]") {
  Compiler compiler;
  const auto plan = nested_plan(compiler);
  const auto json = nlohmann::json::parse(explain_json(*plan));
  CHECK(json["nodes"].size() == plan->nodes.size());
  CHECK(json["links"].size() == plan->links.size());
  CHECK(json["memory"]["total"] == plan->memory.total());
  CHECK(json["culled"][0] == "idle");
  CHECK(parse_pipeline(json["document"].dump(), "document").name == "sound-to-words/test");
}

TEST_CASE("the DOT has a card per stage, a frame per nested pipeline and escapes text", "[unit]") {
  Compiler compiler;
  const std::string dot = explain_dot(*nested_plan(compiler));
  CHECK_THAT(dot, Contains("subgraph cluster_0") && Contains("label=<sub>"));
  CHECK_THAT(dot, Contains("rounded,dashed"));
  CHECK(std::count(dot.begin(), dot.end(), '{') == std::count(dot.begin(), dot.end(), '}'));
}
