// text/chat: a conversation that is saved between any two steps goes on in another stage, as in another process, with
// the same words, drawn ones too.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

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

/// Every piece with what says where it belongs.
std::string all_of(StageHarness& harness) {
  std::string text;
  for (const Text& piece : harness.take_as<Text>("text"))
    text += piece.utf8 + "|" + std::to_string(piece.answer_end) + (piece.last_of_answer ? "\n" : "|");
  return text;
}

void ask(StageHarness& harness) {
  for (const char* const question : {"Hello there, how are you?", "And what is next?"}) {
    Text text;
    text.utf8 = question;
    harness.feed("turns", text);
  }
  harness.end("turns");
}

}  // namespace

TEST_CASE("a conversation that was saved goes on with the same words", "[unit][chat]") {
  TinyTrunkFile file;
  Registry registry;
  text::register_chat(registry);
  const StageSpec& spec = *registry.find_stage("text/chat");
  REQUIRE(spec.checkpointable);
  for (const double temperature : {0.0, 0.9}) {
    INFO("temperature " << temperature);
    const Params params({{"model", file.path().string()},
                         {"max_tokens", std::int64_t{10}},
                         {"n_ctx", std::int64_t{256}},
                         {"temperature", temperature},
                         {"repeat_penalty", 1.2},
                         {"system", std::string("Be brief.")}});
    StageHarness whole(spec, params);
    ask(whole);
    REQUIRE(whole.run() == StepStatus::done);
    const std::string expected = all_of(whole);
    REQUIRE(std::count(expected.begin(), expected.end(), '\n') == 2);
    bool done = false;
    for (int n_steps = 0; !done; ++n_steps) {
      INFO("after " << n_steps << " steps");
      StageHarness first(spec, params);
      ask(first);
      for (int i = 0; i < n_steps && !done; ++i) done = first.step() == StepStatus::done;
      if (done) break;
      std::string said = all_of(first);
      StageHarness second(spec, params);
      second.state().restore(first.state().save());
      if (first.available("turns") > 0)
        ask(second);  // nothing was taken yet
      else
        second.end("turns");
      REQUIRE(second.run() == StepStatus::done);
      CHECK(said + all_of(second) == expected);
    }
  }
}

TEST_CASE("a conversation's saved state that is another model's or damaged is refused", "[unit][chat]") {
  TinyTrunkFile file;
  Registry registry;
  text::register_chat(registry);
  const StageSpec& spec = *registry.find_stage("text/chat");
  const Params params({{"model", file.path().string()}, {"max_tokens", std::int64_t{10}}});
  StageHarness first(spec, params), second(spec, params);
  ask(first);
  for (int i = 0; i < 4; ++i) first.step();
  const std::vector<std::byte> saved = first.state().save();
  for (std::size_t n = 0; n < saved.size(); n += 1 + saved.size() / 50) {
    try {
      second.state().restore(std::span(saved).first(n));
      FAIL_CHECK("a state of " << n << " of " << saved.size() << " bytes was taken");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::format);
    }
  }
}
