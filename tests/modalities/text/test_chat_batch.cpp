// text/chat: a conversation that fails while others are stepped with it harms none of them.
#include <catch2/catch.hpp>

#include "modalities/backbone/tiny_trunk.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "testing/stage_harness.h"

using namespace morph;
using morph::testing::StageHarness;
using morph::testing::TinyTrunkFile;

namespace morph::text {
void register_chat(Registry& registry);
}

namespace {

std::string all_of(StageHarness& harness) {
  std::string text;
  for (const Text& piece : harness.take_as<Text>("text")) text += piece.utf8;
  return text;
}

Text typed(std::string utf8) {
  Text text;
  text.utf8 = std::move(utf8);
  return text;
}

}  // namespace

TEST_CASE("a conversation that fails in a batch leaves the others' answers whole", "[unit][chat]") {
  TinyTrunkFile file;
  Registry registry;
  text::register_chat(registry);
  const StageSpec& spec = *registry.find_stage("text/chat");
  const Params params({{"model", file.path().string()},
                       {"max_tokens", std::int64_t{12}},
                       {"n_ctx", std::int64_t{128}},
                       {"overflow", std::string("error")},
                       {"system", std::string("Be brief.")}});
  StageHarness alone(spec, params);
  alone.feed("turns", typed("Hello"));
  alone.run();
  const std::string expected = all_of(alone);
  REQUIRE_FALSE(expected.empty());

  StageHarness maker(spec, params);
  const std::shared_ptr<const Stage> stage(std::shared_ptr<void>(), &maker.stage());  // the harness keeps it
  morph::testing::HarnessOptions with_params;
  with_params.params = params;
  StageHarness good(stage, spec, with_params), bad(stage, spec, with_params);
  good.feed("turns", typed("Hello"));
  bad.feed("turns", typed(std::string(4000, 'x')));  // more than the model can look back on
  std::vector<StepItem> both{{&good.state(), &good.io()}, {&bad.state(), &bad.io()}};
  CHECK_NOTHROW(stage->step(both));
  CHECK_FALSE(both[0].error);
  REQUIRE(both[1].error);
  CHECK_THAT(std::string(both[1].error->what()), Catch::Contains("n_ctx"));
  good.run();
  CHECK(all_of(good) == expected);
}
