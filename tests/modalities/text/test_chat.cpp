// text/chat: the turn protocol, speculative answers, barge-in, batching; on a tiny random model.
#include <catch2/catch.hpp>

#include "chat/answer_filter.h"
#include "modalities/backbone/tiny_trunk.h"
#include "morph/error.h"
#include "morph/registry.h"
#include "morph/text.h"
#include "testing/stage_harness.h"
#include "utf8.h"

using namespace morph;
using morph::testing::HarnessOptions;
using morph::testing::StageHarness;
using morph::testing::TinyTrunkFile;

namespace morph::text {
void register_chat(Registry& registry);
}

namespace {

Text turn(const std::string& utf8, TurnState state = TurnState::final, std::uint64_t pause = 0,
          std::size_t stable = 0) {
  Text text;
  text.utf8 = utf8;
  text.turn_state = state;
  text.pause_index = pause;
  text.stable_bytes = stable;
  return text;
}

struct Chat {
  TinyTrunkFile file;
  Registry registry;
  Chat() { text::register_chat(registry); }
  const StageSpec& spec() const { return *registry.find_stage("text/chat"); }
  Params params(std::int64_t max_tokens = 12) const {
    return Params({{"model", file.path().string()},
                   {"max_tokens", max_tokens},
                   {"n_ctx", std::int64_t{512}},
                   {"system", std::string("Be brief.")}});
  }
};

struct Answer {
  std::string text;
  int n_ends = 0, n_flushes = 0;
  std::uint64_t flushed_to = 0, epoch = 0;
};

/// What a listener is left with: flushes drop older epochs, revises take back.
Answer heard(const std::vector<Packet>& packets) {
  Answer answer;
  std::vector<Packet> kept;
  for (const Packet& packet : packets) {
    if (packet.kind == PacketKind::flush) {
      ++answer.n_flushes;
      answer.flushed_to = packet.epoch;
      std::erase_if(kept, [&](const Packet& one) { return one.epoch < packet.epoch; });
      continue;
    }
    if (packet.kind == PacketKind::revise)
      std::erase_if(kept, [&](const Packet& one) { return one.sequence >= packet.since; });
    kept.push_back(packet);
  }
  for (const Packet& packet : kept) {
    answer.text += packet.as<Text>().utf8;
    answer.n_ends += packet.as<Text>().last_of_answer ? 1 : 0;
    answer.epoch = packet.epoch;
  }
  return answer;
}

std::string answer_to(const Chat& chat, const std::vector<std::string>& turns) {
  StageHarness harness(chat.spec(), chat.params());
  Answer last;
  for (const std::string& one : turns) {
    harness.feed("turns", turn(one));
    harness.run();
    last = heard(harness.take("text"));
  }
  return last.text;
}

}  // namespace

TEST_CASE("thinking and half characters are held back", "[unit][chat]") {
  text::AnswerFilter filter("<think>", {"</think>"});
  CHECK(filter.add("\n<thi", false).empty());
  CHECK(filter.add("nk>secret", false).empty());
  CHECK(filter.add("</thi", false).empty());
  CHECK(filter.add("nk>\n\nHi <b", false) == "Hi <b");
  CHECK(filter.add("\xE6\x9D", false).empty());
  CHECK(filter.add("\xB1<", false) == "東");
  CHECK(filter.add("", true) == "<");
}

TEST_CASE_METHOD(Chat, "a typed turn is answered in valid pieces", "[unit][chat]") {
  StageHarness harness(spec(), params());
  harness.feed("turns", turn("Hello"));
  harness.end("turns");
  CHECK(harness.run() == StepStatus::done);
  const auto packets = harness.take("text");
  REQUIRE(packets.size() > 1);
  std::size_t end = 0;
  for (const Packet& packet : packets) {
    const Text& text = packet.as<Text>();
    CHECK_FALSE(text::find_utf8_fault(text.utf8));
    end += text.utf8.size();
    CHECK(text.answer_end == end);
  }
  const Answer answer = heard(packets);
  CHECK(answer.n_ends == 1);
  CHECK(packets.back().as<Text>().last_of_answer);
  CHECK(answer.text == answer_to(*this, {"Hello"}));
  CHECK(harness.metric("answer_tokens") > 0);
}

TEST_CASE_METHOD(Chat, "history reaches the next answer unless it is off", "[unit][chat]") {
  CHECK(answer_to(*this, {"One", "Two"}) != answer_to(*this, {"Two"}));
  Params forgetful = params();
  forgetful.set("history", false);
  StageHarness harness(spec(), forgetful);
  harness.feed("turns", turn("One"));
  harness.run();
  harness.take("text");
  harness.feed("turns", turn("Two"));
  harness.run();
  CHECK(heard(harness.take("text")).text == answer_to(*this, {"Two"}));
}

TEST_CASE_METHOD(Chat, "a tentative turn is answered at once and confirmed without starting again", "[unit][chat]") {
  StageHarness harness(spec(), params());
  harness.feed("turns", turn("Hel", TurnState::partial, 0, 3));
  harness.run();
  CHECK(harness.take("text").empty());
  harness.feed("turns", turn("Hello", TurnState::tentative, 4));
  harness.run();
  const Answer early = heard(harness.take("text"));
  CHECK(early.epoch == 4);
  CHECK(early.n_ends == 1);
  CHECK(early.text == answer_to(*this, {"Hello"}));
  harness.feed("turns", turn("Hello", TurnState::final, 4));
  harness.run();
  CHECK(harness.take("text").empty());
  harness.feed("turns", turn("Next", TurnState::final, 5));
  harness.run();
  CHECK(heard(harness.take("text")).text == answer_to(*this, {"Hello", "Next"}));
}

TEST_CASE_METHOD(Chat, "speech that goes on takes a speculative answer back", "[unit][chat]") {
  StageHarness harness(spec(), params());
  harness.feed("turns", turn("Hello", TurnState::tentative, 1));
  for (int i = 0; i < 4; ++i) harness.step();
  harness.feed("turns", turn("Hello wor", TurnState::partial, 0, 5));
  harness.feed("turns", turn("Hello world", TurnState::tentative, 2));
  harness.run();
  harness.feed("turns", turn("Hello world", TurnState::final, 2));
  harness.end("turns");
  CHECK(harness.run() == StepStatus::done);
  const Answer answer = heard(harness.take("text"));
  CHECK(answer.n_flushes == 1);
  CHECK(answer.flushed_to == 2);
  CHECK(answer.epoch == 2);
  CHECK(answer.n_ends == 1);
  CHECK(answer.text == answer_to(*this, {"Hello world"}));
}

TEST_CASE_METHOD(Chat, "a final text that differs replaces the tentative answer", "[unit][chat]") {
  StageHarness harness(spec(), params());
  harness.feed("turns", turn("Hello", TurnState::tentative, 1));
  for (int i = 0; i < 4; ++i) harness.step();
  harness.feed("turns", turn("Yellow", TurnState::final, 1));
  harness.end("turns");
  harness.run();
  const Answer answer = heard(harness.take("text"));
  CHECK(answer.text == answer_to(*this, {"Yellow"}));
  CHECK(answer.n_ends == 1);
}

TEST_CASE_METHOD(Chat, "an answer that is never confirmed is flushed at the end", "[unit][chat]") {
  StageHarness harness(spec(), params());
  harness.feed("turns", turn("Hello", TurnState::tentative, 1));
  harness.run();
  harness.end("turns");
  CHECK(harness.run() == StepStatus::done);
  CHECK(heard(harness.take("text")).text.empty());
}

TEST_CASE_METHOD(Chat, "an interruption leaves only what was heard in the conversation", "[unit][chat]") {
  const auto second_prompt_tokens = [&](bool late, std::int64_t bytes) {
    StageHarness harness(spec(), params(40));
    harness.feed("turns", turn("Hello", TurnState::final, 1));
    if (late)
      harness.run();
    else
      for (int i = 0; i < 20; ++i) harness.step();
    harness.control({"interrupted", 1, StreamTime{0}, Params({{"heard_bytes", bytes}})});
    harness.run();
    const auto packets = harness.take("text");
    CHECK(packets.back().kind == PacketKind::flush);
    CHECK(packets.back().epoch == 2);
    harness.feed("turns", turn("Next", TurnState::final, 2));
    harness.end("turns");
    harness.run();
    CHECK(harness.metric("answers_interrupted") == 1);
    return heard(harness.take("text")).text;
  };
  const std::string after_five = second_prompt_tokens(false, 5);
  CHECK(after_five == second_prompt_tokens(true, 5));
  CHECK(after_five != second_prompt_tokens(true, 0));
  // Nothing heard: the two questions stand together.
  CHECK(second_prompt_tokens(false, 0) == second_prompt_tokens(true, 0));
  StageHarness joined(spec(), params(40));
  joined.feed("turns", turn("Hello\nNext"));
  joined.run();
  CHECK(second_prompt_tokens(true, 0) == heard(joined.take("text")).text);
}

TEST_CASE_METHOD(Chat, "an interruption that is reported late mends the answer in progress", "[unit][chat]") {
  const auto run = [&](bool late) {
    StageHarness harness(spec(), params(20));
    harness.feed("turns", turn("Hello", TurnState::final, 1));
    harness.run();
    const ControlEvent event{"interrupted", 1, StreamTime{0}, Params({{"heard_bytes", std::int64_t{3}}})};
    if (!late) harness.control(event);
    if (!late) harness.run();
    harness.take("text");
    harness.feed("turns", turn("Next", TurnState::tentative, 2));
    for (int i = 0; i < 6; ++i) harness.step();
    if (late) harness.control(event);
    harness.run();
    harness.feed("turns", turn("Next", TurnState::final, 2));
    harness.end("turns");
    harness.run();
    return heard(harness.take("text")).text;
  };
  CHECK(run(true) == run(false));
}

TEST_CASE_METHOD(Chat, "where reports are promised, a turn waits for that of the answer before", "[unit][chat]") {
  const std::string name = GENERATE(std::string("interrupted"), std::string("heard"));
  const TurnState state = GENERATE(TurnState::tentative, TurnState::final);
  StageHarness harness(spec(), params(20));
  harness.control({"reports_heard", 0, StreamTime{0}, Params()});
  harness.feed("turns", turn("Hello", TurnState::final, 1));
  harness.run();
  const std::size_t n_whole = heard(harness.take("text")).text.size();
  harness.feed("turns", turn("Next", state, 2));
  CHECK(harness.run() == StepStatus::need_input);
  CHECK(harness.take("text").empty());  // neither an answer nor a flush of what is still to be heard
  const auto n_heard = static_cast<std::int64_t>(name == "heard" ? n_whole : 3);
  harness.control({name, 1, StreamTime{0}, Params({{"heard_bytes", n_heard}})});
  harness.run();
  const Answer answer = heard(harness.take("text"));
  CHECK(answer.epoch == 2);
  CHECK_FALSE(answer.text.empty());
  CHECK(answer.n_flushes == (name == "heard" ? 0 : 1));
}

TEST_CASE_METHOD(Chat, "an empty turn gets no answer and old turns make room", "[unit][chat]") {
  StageHarness harness(spec(), params());
  harness.feed("turns", turn("  ", TurnState::final, 1));
  harness.run();
  CHECK(harness.take("text").empty());
  for (int i = 0; i < 30; ++i) {
    harness.feed("turns", turn("Question number " + std::to_string(i)));
    harness.run();
    CHECK(heard(harness.take("text")).n_ends == 1);
  }
  harness.feed("turns", turn(std::string(600, 'x')));
  try {
    harness.run();
    FAIL("expected an Error");
  } catch (const Error& error) {
    CHECK(to_string(error.code()) == to_string(ErrorCode::resource));
    CHECK(std::string(error.what()).find("n_ctx") != std::string::npos);
  }
}

TEST_CASE_METHOD(Chat, "a full output is waited for", "[unit][chat]") {
  StageHarness harness(spec(), params());
  harness.set_space("text", 2);
  harness.feed("turns", turn("Hello"));
  CHECK(harness.run() == StepStatus::output_full);
  CHECK(harness.take("text").size() <= 3);
  std::string rest;
  for (int i = 0; i < 40 && harness.run() == StepStatus::output_full; ++i) rest += heard(harness.take("text")).text;
  CHECK(harness.run() == StepStatus::need_input);
  CHECK_FALSE(rest.empty());
}
