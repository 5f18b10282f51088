// A plan's pipeline as one flat document compiles to the same plan, also when the library and the defaults are gone.
#include <catch2/catch.hpp>

#include "engine/graph/compile_fixture.h"
#include "graph/flat_document.h"

using namespace morph;
using namespace morph::testing;

namespace {

void check_same(const Plan& one, const Plan& other) {
  REQUIRE(names_of(one) == names_of(other));
  for (std::size_t i = 0; i < one.nodes.size(); ++i) {
    INFO(one.nodes[i].name);
    CHECK(one.nodes[i].params.values() == other.nodes[i].params.values());
    CHECK(one.nodes[i].inputs == other.nodes[i].inputs);
    CHECK(one.nodes[i].outputs == other.nodes[i].outputs);
    CHECK(one.nodes[i].device == other.nodes[i].device);
  }
  REQUIRE(one.links.size() == other.links.size());
  for (std::size_t i = 0; i < one.links.size(); ++i) {
    CHECK(one.links[i].from_node == other.links[i].from_node);
    CHECK(one.links[i].from_port == other.links[i].from_port);
    CHECK(one.links[i].to_node == other.links[i].to_node);
    CHECK(one.links[i].to_port == other.links[i].to_port);
    CHECK(one.links[i].queue == other.links[i].queue);
    CHECK(one.links[i].policy == other.links[i].policy);
  }
}

}  // namespace

TEST_CASE("a flat document compiles to the plan that it was made of", "[unit]") {
  Compiler compiler;
  compiler.folder.write("sound-to-words/hear.json", kHear);
  const std::string outer = document(
      R"("sub": {"pipeline": "sound-to-words/hear", "params": {"hear.beams": 2}}, "last": {"stage": "words/rewrite"},
         "preview": {"stage": "sound/preview"}, "idle": {"stage": "words/rewrite"})",
      R"("sub.words -> last.in", {"from": "sub.words", "to": "idle.in", "queue": 3})",
      R"("inputs": {"sound": {"type": "sound", "to": ["sub.sound", "preview.in"]}},
         "outputs": {"words": {"type": "words", "from": "last.out"}, "spare": {"type": "words", "from": "idle.out"}},
         "params": {"heat": {"to": "last.heat", "default": 0.25}}, )");
  compiler.options.bindings = {{"sound", "sound/read", Params({{"rate", std::int64_t{48000}}})},
                               {"words", "words/write", Params({{"file", std::string("out.txt")}})}};
  compiler.options.params = {{"heat", Value{0.75}}, {"sub/hear.beams", Value{std::int64_t{5}}}};
  compiler.options.unread = {"spare"};
  compiler.options.n_threads = 3;
  const auto plan = compiler.plan(outer);
  REQUIRE(node_of(*plan, "sub/hear").params.get_int("beams") == 5);
  const FlatDocument flat = flat_document(*plan, compiler.registry, compiler.library);
  CHECK(flat.options.params.empty());
  CHECK(flat.options.n_threads == 3);
  CHECK(flat.pipeline.params.empty());

  std::filesystem::remove_all(compiler.folder.path());
  const CompileResult again = compile_pipeline(flat.pipeline, flat.options, compiler.environment);
  INFO(text_of(again));
  REQUIRE(again.plan != nullptr);
  check_same(*plan, *again.plan);
  // And again, as a run that was resumed and saved does.
  const FlatDocument twice = flat_document(*again.plan, compiler.registry, compiler.library);
  const CompileResult third = compile_pipeline(twice.pipeline, twice.options, compiler.environment);
  REQUIRE(third.plan != nullptr);
  check_same(*plan, *third.plan);
}
