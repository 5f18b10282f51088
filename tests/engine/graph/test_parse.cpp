// Pipeline documents: every finding at once, with its place; limits; round trips; the library of folders.
#include <catch2/catch.hpp>

#include "engine/graph/compile_fixture.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace {
std::string refusal(const std::string& json) {
  try {
    parse_pipeline(json, "p.json");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::pipeline);
    CHECK(error.where() == "p.json");
    return error.message();
  }
  return "(accepted)";
}

const char* const kFull = R"({"morph": 1, "name": "a-to-b/full", "help": "All there is.", "default": true,
  "inputs": {"in": {"type": "sound", "to": ["hear.sound", "other.in"], "help": "h", "optional": true}},
  "outputs": {"out": {"type": "words", "from": "hear.words"}},
  "params": {"model": {"to": ["hear.model"], "default": "base", "help": "m"}, "heat": {"to": "other.heat", "default": 1.0}},
  "stages": {"hear": {"stage": "sound/hear", "params": {"beams": 3, "list": ["a"], "flag": true, "none": null}, "executor": "cpu"},
             "other": {"pipeline": "x/y", "params": {"heat": 0.25}}},
  "links": ["a.out -> b.in", {"from": "b.out", "to": "c.in", "queue": 3, "policy": "latest", "delay": true}]})";
}  // namespace

TEST_CASE("a full document is read and written without loss", "[unit]") {
  const Pipeline pipeline = parse_pipeline(kFull, "p.json");
  CHECK(pipeline.is_default);
  CHECK(pipeline.stages.size() == 2);
  CHECK(pipeline.stages[0].name == "hear");
  CHECK(pipeline.stages[0].params.get_int("beams") == 3);
  CHECK(pipeline.inputs[0].endpoints == std::vector<std::string>{"hear.sound", "other.in"});
  CHECK(pipeline.links[1].policy == QueuePolicy::latest);
  CHECK(pipeline.links[1].queue == 3);
  CHECK(pipeline.links[1].delay);
  CHECK(std::get<double>(pipeline.params[1].default_value) == 1.0);
  const std::string once = to_json(pipeline);
  CHECK(to_json(parse_pipeline(once, "again")) == once);
}

TEST_CASE("syntax errors have a line and a column", "[unit]") {
  CHECK_THAT(refusal("{\n  \"morph\": 1,\n  oops\n}"), Contains("line 3, column 3"));
  CHECK_THAT(refusal(""), Contains("line 1, column 1"));
  CHECK_THAT(refusal("{\"morph\": 1"), Contains("line 1"));
  CHECK_THAT(refusal("{\"morph\": \"\xff\"}"), Contains("UTF-8"));
}

TEST_CASE("all findings of a document come at once, with their paths", "[unit]") {
  const std::string text =
      refusal(R"({"morph": 2, "nmae": "x", "inputs": [], "outputs": {"o": {"type": 3, "from": ["a.b", "c.d"]}},
    "params": {"p": {"to": "nodot", "default": {}}},
    "stages": {"s": {}, "t": {"stage": "a", "pipeline": "b"}, "bad name": {"stage": "a"}, "u": {"stage": "x", "parms": {}},
               "v": {"stage": "x", "params": {"deep": {"a": 1}, "big": 18446744073709551615, "mixed": [1, "a"]}}},
    "links": ["a.b", {"from": "a.b", "to": "c.d", "queue": 0, "policy": "newest"}, 7]})");
  for (const char* expected :
       {"$.morph: expected 1", "$.nmae: unknown key; did you mean \"name\"?",
        "$.name: expected a string, found nothing", "$.inputs: expected an object, found array",
        "$.outputs.o.type: expected a string", "$.outputs.o.from: expected one",
        "$.params.p.to: expected \"stage.name\", found \"nodot\"", "$.params.p.default: expected a parameter's value",
        "$.stages.s: expected either", "$.stages.t: expected either", "$.stages.bad name: expected a name",
        "$.stages.u.parms: unknown key; did you mean \"params\"?", "$.stages.v.params.deep", "$.stages.v.params.big",
        "$.stages.v.params.mixed", "$.links[0]: expected \"stage.port -> stage.port\"",
        "$.links[1].queue: expected an integer", "$.links[1].policy: unknown policy \"newest\"",
        "$.links[2]: expected an object"})
    CHECK_THAT(text, Contains(expected));
  CHECK_THAT(refusal("[]"), Contains("$: expected an object, found array"));
  CHECK_THAT(refusal(R"({"morph": 1, "name": "x", "stages": {}})"), Contains("at least one stage"));
  CHECK_THAT(refusal(R"({"morph": 1, "name": "../../x", "stages": {"s": {"stage": "a"}}})"), Contains("$.name"));
  CHECK_THAT(refusal(R"({"morph": 1, "name": "x", "name": "y", "stages": {"s": {"stage": "a"}}})"),
             Contains("\"name\" is given twice"));
}

TEST_CASE("hostile documents are refused by size, depth and number of keys", "[unit]") {
  CHECK_THAT(refusal(std::string(100000, '[')), Contains("levels of nesting"));
  CHECK_THAT(refusal("\"" + std::string(2000000, 'a') + "\""), Contains("bytes"));
  std::string many = "{";
  for (int i = 0; i < 5000; ++i) many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":1";
  CHECK_THAT(refusal(many + "}"), Contains("4096 keys"));
}

TEST_CASE("the library finds by name and by path, and says what is near", "[unit]") {
  TemporaryFolder folder;
  folder.write("sound-to-words/hear.json", kHear);
  folder.write("sound-to-words/elsewhere.json", R"({"morph": 1, "name": "moved", "stages": {"s": {"stage": "a"}}})");
  folder.write("schema.json", "{}");
  folder.write("presets/p.json", "{}");
  folder.write("broken.json", "{");
  const PipelineLibrary library({folder.path()});
  CHECK(library.find("sound-to-words/hear").file == folder.path() / "sound-to-words/hear.json");
  CHECK(library.find("moved").name == "moved");
  CHECK(library.find((folder.path() / "sound-to-words/hear.json").string()).name == "sound-to-words/hear");
  CHECK_THROWS_WITH(library.find("sound-to-words/haer"), Contains("did you mean \"sound-to-words/hear\"?"));
  CHECK_THROWS_WITH(library.find("no/such.json"), Contains("found nothing of this name"));
  CHECK_THROWS_WITH(library.find(folder.path().string() + "/broken.json"), Contains("line 1"));
  CHECK_THROWS_AS(library.find_name("../" + folder.path().filename().string() + "/sound-to-words/hear"), Error);
  const std::vector<Pipeline> all = library.all();
  REQUIRE(all.size() == 2);
  CHECK(all[0].name == "moved");
}
