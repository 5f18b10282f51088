// Formats, converters, nesting, bindings, culling: the plans that documents become.
#include <catch2/catch.hpp>

#include "engine/graph/compile_fixture.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace {
Format pcm(std::int64_t rate, std::int64_t channels) {
  return {"sound/pcm", {{"rate", Value{rate}}, {"channels", Value{channels}}}};
}

Binding read_at(std::int64_t rate, std::int64_t channels) {
  return {"sound", "sound/read", Params({{"rate", Value{rate}}, {"channels", Value{channels}}})};
}
}  // namespace

TEST_CASE("converters are put in only where two ports do not agree, the fewest that do", "[unit]") {
  Compiler compiler;
  compiler.options.bindings = {read_at(16000, 1)};
  CHECK(names_of(*compiler.plan(kHear)) == "in.sound hear words");
  compiler.options.bindings = {read_at(8000, 1)};
  auto plan = compiler.plan(kHear);
  CHECK(names_of(*plan) == "in.sound resample#1 hear words");
  CHECK(node_of(*plan, "resample#1").inserted);
  CHECK(node_of(*plan, "resample#1").inputs[0] == pcm(8000, 1));
  CHECK(node_of(*plan, "resample#1").outputs[0] == pcm(16000, 1));
  compiler.options.bindings = {read_at(16000, 2)};
  CHECK(names_of(*compiler.plan(kHear)) == "in.sound mix#1 hear words");
  compiler.options.bindings = {read_at(44100, 2)};
  plan = compiler.plan(kHear);
  CHECK(names_of(*plan) == "in.sound mix#1 resample#1 hear words");
  CHECK(node_of(*plan, "mix#1").outputs[0] == pcm(44100, 1));
  CHECK(node_of(*plan, "hear").inputs[0] == pcm(16000, 1));
  CHECK_FALSE(node_of(*plan, "hear").inputs[1]);
  CHECK_FALSE(node_of(*plan, "hear").outputs[1]);
}

TEST_CASE("readers that need the same converter share it", "[unit]") {
  Compiler compiler;
  const auto plan = compiler.plan(document(
      R"("read": {"stage": "sound/read", "params": {"rate": 8000, "channels": 1}},
         "one": {"stage": "sound/hear", "params": {"model": "m"}}, "two": {"stage": "sound/hear", "params": {"model": "m"}},
         "join": {"stage": "words/join"}, "preview": {"stage": "sound/preview"})",
      R"("read.out -> one.sound", "read.out -> two.sound", "read.out -> preview.in", "one.words -> join.a", "two.words -> join.b")",
      R"("outputs": {"out": {"type": "words", "from": "join.out"}}, )"));
  CHECK(names_of(*plan) == "read resample#1 one two join preview out");
  CHECK(plan->links.size() == 7);
  CHECK(node_of(*plan, "preview").inputs[0] == pcm(8000, 1));
}

TEST_CASE("ports that no converter joins are an error with both sides and what was considered", "[unit]") {
  Compiler compiler;
  const CompileResult result = compiler.compile(
      document(R"("read": {"stage": "sound/read"}, "rewrite": {"stage": "words/rewrite"})",
               R"("read.out -> rewrite.in")", R"("outputs": {"out": {"type": "words", "from": "rewrite.out"}}, )"));
  CHECK(count_errors(result) == 1);
  CHECK_THAT(text_of(result), Contains("\"read.out\" and \"rewrite.in\" do not agree on a format") &&
                                  Contains("offered:  sound/pcm {channels: 2, rate: 44100}") &&
                                  Contains("accepted: words/plain") &&
                                  Contains("considered: sound/mix, sound/resample"));
}

TEST_CASE("unbound ports are the program's: fed in the reader's format or the one that was said", "[unit]") {
  Compiler compiler;
  auto plan = compiler.plan(kHear);
  CHECK(names_of(*plan) == "sound hear words");
  CHECK(plan->nodes[0].app_feed);
  CHECK(plan->nodes[2].app_read);
  CHECK(plan->nodes[0].outputs[0] == pcm(16000, 1));
  CHECK(plan->nodes[2].inputs[0] == Format{"words/plain", {}});
  compiler.options.feed_formats = {{"sound", pcm(48000, 1)}};
  CHECK(names_of(*compiler.plan(kHear)) == "sound resample#1 hear words");
}

TEST_CASE("an input and an output of one name can both be bound", "[unit]") {
  Compiler compiler;
  compiler.options.bindings = {{"x", "words/write", {}}, {"x", "sound/read", {}}};
  const auto plan = compiler.plan(document(
      R"("hear": {"stage": "sound/hear", "params": {"model": "m"}})", "",
      R"("inputs": {"x": {"type": "sound", "to": "hear.sound"}}, "outputs": {"x": {"type": "words", "from": "hear.words"}}, )"));
  CHECK(names_of(*plan) == "in.x mix#1 resample#1 hear out.x");
}

TEST_CASE("what only unread outputs need is culled, with optional inputs left alone", "[unit]") {
  Compiler compiler;
  const std::string json = document(
      R"("hear": {"stage": "sound/hear", "params": {"model": "m"}}, "rewrite": {"stage": "words/rewrite"})",
      R"("hear.words -> rewrite.in")",
      R"("inputs": {"sound": {"type": "sound", "to": "hear.sound"}, "hint": {"type": "words", "to": "hear.hint", "optional": true}},
         "outputs": {"plain": {"type": "words", "from": "hear.words"}, "grand": {"type": "words", "from": "rewrite.out"}}, )");
  CHECK(names_of(*compiler.plan(json)) == "sound hear rewrite plain grand");
  compiler.options.unread = {"grand"};
  const auto plan = compiler.plan(json);
  CHECK(names_of(*plan) == "sound hear plain");
  CHECK(plan->culled == std::vector<std::string>{"rewrite"});
  CHECK(plan->links.size() == 2);
  compiler.options.feed_formats = {{"hint", Format{"words/plain", {}}}};
  CHECK(names_of(*compiler.plan(json)) == "sound hint hear plain");
}

TEST_CASE("nested pipelines are expanded, with their ports and parameters", "[unit]") {
  Compiler compiler;
  compiler.folder.write("sound-to-words/hear.json", kHear);
  compiler.folder.write("middle.json", R"({"morph": 1, "name": "middle",
    "inputs": {"s": {"type": "sound", "to": "inner.sound"}}, "outputs": {"w": {"type": "words", "from": "inner.words"}},
    "params": {"which": {"to": "inner.model"}},
    "stages": {"inner": {"pipeline": "sound-to-words/hear"}}})");
  const std::string outer =
      document(R"("sub": {"pipeline": "middle", "params": {"which": "small", "inner/hear.beams": 2}},
                                        "read": {"stage": "sound/read"})",
               R"("read.out -> sub.s")", R"("outputs": {"o": {"type": "words", "from": "sub.w"}}, )");
  auto plan = compiler.plan(outer);
  CHECK(names_of(*plan) == "read mix#1 resample#1 sub/inner/hear o");
  CHECK(node_of(*plan, "sub/inner/hear").params.get_string("model") == "small");
  CHECK(node_of(*plan, "sub/inner/hear").params.get_int("beams") == 2);
  compiler.options.params = {{"sub/inner/hear.beams", Value{std::int64_t{5}}},
                             {"sub.which", Value{std::string("large")}}};
  plan = compiler.plan(outer);
  CHECK(node_of(*plan, "sub/inner/hear").params.get_int("beams") == 5);
  CHECK(node_of(*plan, "sub/inner/hear").params.get_string("model") == "large");

  const Pipeline middle = compiler.library.find("middle");
  const std::vector<ParamSpec> specs = pipeline_params(middle, compiler.registry, compiler.library);
  REQUIRE(specs.size() == 1);
  CHECK(specs[0].name == "which");
  CHECK(specs[0].default_value == Value{std::string("base")});
  CHECK_FALSE(specs[0].required);
}

TEST_CASE("nesting: recursion, unknown pipelines, unknown and unconnected ports", "[unit]") {
  Compiler compiler;
  compiler.folder.write("a.json", R"({"morph": 1, "name": "a", "stages": {"b": {"pipeline": "b"}}})");
  compiler.folder.write("b.json", R"({"morph": 1, "name": "b", "stages": {"a": {"pipeline": "a"}}})");
  compiler.folder.write("sound-to-words/hear.json", kHear);
  CHECK_THAT(text_of(compiler.compile(document(R"("x": {"pipeline": "a"})", ""))),
             Contains("test/x/b/a: a pipeline may not contain itself: sound-to-words/test -> a -> b -> a"));
  CHECK_THAT(text_of(compiler.compile(document(R"("x": {"pipeline": "c"})", ""))),
             Contains("there is no pipeline of this name"));
  const std::string text =
      text_of(compiler.compile(document(R"("x": {"pipeline": "sound-to-words/hear", "params": {"modl": "m"}})", "",
                                        R"("outputs": {"o": {"type": "words", "from": "x.wrds"}}, )")));
  CHECK_THAT(text, Contains("has no output \"wrds\"; did you mean \"words\"?"));
  CHECK_THAT(text, Contains("input \"sound\" of the nested pipeline \"x\" is not connected"));
  CHECK_THAT(text, Contains("has no parameter \"modl\"; did you mean \"model\"?"));
}

TEST_CASE("nesting that multiplies is stopped", "[unit]") {
  Compiler compiler;
  const int n_levels = 14;
  for (int i = 0; i < n_levels; ++i) {
    std::string stages;
    for (int k = 0; k < 4; ++k)
      stages += (k > 0 ? ", \"s" : "\"s") + std::to_string(k) +
                (i + 1 < n_levels ? "\": {\"pipeline\": \"l" + std::to_string(i + 1) + "\"}"
                                  : "\": {\"stage\": \"nothing\"}");
    compiler.folder.write("l" + std::to_string(i) + ".json",
                          "{\"morph\": 1, \"name\": \"l" + std::to_string(i) + "\", \"stages\": {" + stages + "}}");
  }
  const CompileResult result = compiler.compile(document(R"("x": {"pipeline": "l0"})", ""));
  CHECK(result.plan == nullptr);
  CHECK_THAT(text_of(result), Contains("at most 4096 stages after nesting"));
  CHECK(count_errors(result) < 5000);
}

TEST_CASE("a resolve that fails is a finding, and its readers are not", "[unit]") {
  Compiler compiler;
  StageSpec broken = declared("sound/broken");
  broken.outputs = {{"out", {sound({}, {})}, "samples", false}};
  broken.resolve = [](const ResolveContext&) -> std::vector<std::vector<FormatPattern>> {
    throw Error(ErrorCode::format, "a.wav", "not audio");
  };
  compiler.registry.add_stage(broken);
  broken.name = "sound/odd";
  broken.resolve = [](const ResolveContext&) -> std::vector<std::vector<FormatPattern>> { return {}; };
  compiler.registry.add_stage(broken);
  for (const auto& [stage, expected] :
       {std::pair<std::string, std::string>{"sound/broken", "[format] sound-to-words/test/b: a.wav: not audio"},
        {"sound/odd", "[internal] sound-to-words/test/b: sound/odd resolved 0 outputs"}}) {
    const CompileResult result = compiler.compile(document(
        "\"b\": {\"stage\": \"" + stage + "\"}, \"hear\": {\"stage\": \"sound/hear\", \"params\": {\"model\": \"m\"}}",
        R"("b.out -> hear.sound")", R"("outputs": {"words": {"type": "words", "from": "hear.words"}}, )"));
    CHECK(count_errors(result) == 1);
    CHECK_THAT(text_of(result), Contains(expected));
  }
}
