// Several real chats at once on one Engine: one trunk, one session, one batch for all of them, each with parameters of
// its own; runs that come and go meanwhile; conversations that outlive their runs.
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "modalities/backbone/tiny_trunk.h"
#include "morph/engine.h"
#include "morph/text.h"
#include "morph/trunk.h"

using namespace morph;
using Catch::Contains;
using morph::testing::TinyTrunkFile;

namespace morph::text {
void register_chat(Registry& registry);
void register_payload(Registry& registry);
}  // namespace morph::text

namespace {

constexpr std::chrono::milliseconds kLong(120000);

const char* const kPipeline = R"({"morph": 1, "name": "chat", "inputs": {"in": {"type": "text", "to": "chat.turns"}},
  "outputs": {"out": {"type": "text", "from": "chat.text"}},
  "params": {"model": {"to": ["chat.model"]}, "system": {"to": ["chat.system"]},
             "max_tokens": {"to": ["chat.max_tokens"]}, "temperature": {"to": ["chat.temperature"]},
             "seed": {"to": ["chat.seed"]}, "n_ctx": {"to": ["chat.n_ctx"]}},
  "stages": {"chat": {"stage": "text/chat"}}})";

/// What one chat says, how it ended, and the largest batch that it was in.
struct Said {
  std::string text;
  RunResult result;
  std::uint64_t max_batch = 0;
};

class Chats {
 public:
  explicit Chats(const std::string& model, std::int64_t n_ctx = 512) {
    EngineOptions options;
    options.n_threads = 2;
    engine_ = std::make_unique<Engine>(options, [](Registry& registry) {
      text::register_payload(registry);
      text::register_chat(registry);
    });
    // Two plans that differ in what belongs to runs: they must share what is loaded.
    for (const std::string system : {"Be brief.", "Sing."}) {
      CompileOptions compile;
      compile.params = {{"model", model}, {"n_ctx", n_ctx}, {"system", system}};
      const CompileResult compiled = engine_->compile(parse_pipeline(kPipeline, "test"), compile);
      for (const Diagnostic& each : compiled.diagnostics) INFO(each.where << ": " << each.message);
      REQUIRE(compiled.plan);
      plans_.push_back(compiled.plan);
    }
  }

  std::unique_ptr<Run> open(RunOptions options, std::size_t plan = 0) {
    options.priority = Priority::interactive;
    auto run = engine_->create_run(plans_[plan], options);
    run->start();
    return run;
  }
  static void ask(Run& run, const std::string& text, bool last = true) {
    Text turn;
    turn.utf8 = text;
    REQUIRE(run.feed("in", Packet::data(std::make_shared<const Text>(turn))));
    if (last) run.end_input("in");
  }
  /// One answer, or all to the end of the run.
  static std::string answer(Run& run, bool one = false) {
    std::string text;
    for (;;) {
      const auto packet = run.read("out", kLong);
      REQUIRE(packet);
      if (packet->ends_stream()) return text;
      text += packet->as<Text>().utf8;
      if (one && packet->as<Text>().last_of_answer) return text;
    }
  }
  static Said finish(Run& run) {
    Said said;
    said.text = answer(run);
    run.wait();
    said.result = run.result();
    said.max_batch = run.metrics().at("chat").max_batch;
    return said;
  }

  /// Chat `i` of eight: system prompt, temperature and length of its own.
  static RunOptions options_of(int i, bool strict, int shortest) {
    RunOptions options;
    options.strict = strict;
    options.params = {{"system", "You are number " + std::to_string(i) + " of eight, and " +
                                     std::string(static_cast<std::size_t>(i), 'v') + "ery brief."},
                      {"temperature", i % 2 == 0 ? 0.0 : 0.2 * i},
                      {"max_tokens", std::int64_t{shortest + 4 * i}},
                      {"seed", std::int64_t{i}}};
    return options;
  }
  static std::string question_of(int i) { return "What is " + std::to_string(i * 37 + 5) + " good for?"; }

  Said alone(int i, bool strict, int shortest) {
    auto run = open(options_of(i, strict, shortest), static_cast<std::size_t>(i % 2));
    ask(*run, question_of(i));
    return finish(*run);
  }
  std::vector<Said> together(bool strict, int shortest) {
    std::vector<std::unique_ptr<Run>> runs;
    for (int i = 0; i < 8; ++i) runs.push_back(open(options_of(i, strict, shortest), static_cast<std::size_t>(i % 2)));
    for (int i = 0; i < 8; ++i) ask(*runs[static_cast<std::size_t>(i)], question_of(i));
    std::vector<Said> all;
    for (const auto& run : runs) all.push_back(finish(*run));
    return all;
  }

 private:
  std::unique_ptr<Engine> engine_;
  std::vector<std::shared_ptr<const Plan>> plans_;
};

/// Eight chats with eight system prompts, temperatures and lengths.
void check_eight(Chats& chats, int shortest) {
  std::vector<Said> alone;
  for (int i = 0; i < 8; ++i) alone.push_back(chats.alone(i, true, shortest));
  const std::vector<Said> strict = chats.together(true, shortest), fast = chats.together(false, shortest);
  std::uint64_t largest = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    INFO("chat " << i);
    CHECK_FALSE(alone[i].text.empty());
    CHECK(strict[i].text == alone[i].text);
    CHECK(strict[i].max_batch == 1);
    CHECK_FALSE(fast[i].text.empty());
    largest = std::max(largest, fast[i].max_batch);
    for (std::size_t j = 0; j < i; ++j) CHECK(alone[i].text != alone[j].text);
  }
  CHECK(largest >= 6);
}

}  // namespace

TEST_CASE("eight chats share one trunk, one session and their batches, and strict ones say what they say alone",
          "[unit][chat]") {
  const TinyTrunkFile file;
  Chats chats(file.path().string());
  check_eight(chats, 40);
  const Said cut = chats.alone(1, false, 40);
  CHECK(cut.result.finish == FinishReason::length);
  CHECK_FALSE(cut.result.whole());
  REQUIRE(cut.result.losses.size() == 1);
  CHECK(cut.result.losses[0].what == "answer");
}

TEST_CASE("eight chats of a published model share their batches; strict ones say what they say alone", "[weights]") {
  Chats chats("smollm2-135m-instruct");
  check_eight(chats, 16);
}

TEST_CASE("two hundred runs come and go while others decode", "[unit][chat]") {
  const TinyTrunkFile file;
  Chats chats(file.path().string(), 1024);
  const auto options = [](int seed) {
    RunOptions one;
    one.strict = true;
    one.params = {{"temperature", 0.9}, {"seed", std::int64_t{seed}}, {"max_tokens", std::int64_t{300}}};
    return one;
  };
  std::vector<std::string> expected;
  for (int i = 0; i < 2; ++i) {
    auto run = chats.open(options(i));
    Chats::ask(*run, "Tell me all");
    expected.push_back(Chats::finish(*run).text);
  }
  std::vector<std::unique_ptr<Run>> steady;
  for (int i = 0; i < 2; ++i) steady.push_back(chats.open(options(i)));
  for (const auto& run : steady) Chats::ask(*run, "Tell me all");
  std::vector<std::string> said(steady.size());
  std::vector<std::thread> readers;  // without Catch's macros, which are for one thread
  for (std::size_t i = 0; i < steady.size(); ++i)
    readers.emplace_back([&, i] {
      for (;;) {
        const auto packet = steady[i]->read("out", kLong);
        if (!packet || packet->ends_stream()) return;
        said[i] += packet->as<Text>().utf8;
      }
    });
  for (int i = 0; i < 200; ++i) {
    RunOptions brief;
    brief.params = {{"max_tokens", std::int64_t{2 + i % 5}}, {"system", "Number " + std::to_string(i % 7)}};
    auto run = chats.open(brief, static_cast<std::size_t>(i % 2));
    Chats::ask(*run, "Hi");
    if (i % 4 == 0) continue;  // closed while it decodes
    if (i % 4 == 1)
      run->cancel();
    else
      CHECK_FALSE(Chats::finish(*run).text.empty());
  }
  for (std::thread& reader : readers) reader.join();
  CHECK(said == expected);
}

TEST_CASE("a conversation goes on in the next run, and is one run's at a time", "[unit][chat]") {
  const TinyTrunkFile file;
  Chats chats(file.path().string());
  RunOptions options;
  options.params = {{"max_tokens", std::int64_t{20}}};
  std::vector<std::string> in_one;
  {
    auto run = chats.open(options);
    Chats::ask(*run, "One", false);
    in_one.push_back(Chats::answer(*run, true));
    Chats::ask(*run, "Two");
    in_one.push_back(Chats::answer(*run));
  }
  const auto conversation = std::make_shared<Conversation>();
  options.attachments = {{"conversation", conversation}};
  std::vector<std::string> in_two;
  for (const char* question : {"One", "Two"}) {
    auto run = chats.open(options);
    if (in_two.empty()) {
      try {
        chats.open(options);
        FAIL("expected an Error");
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::config);
        CHECK_THAT(std::string(error.what()), Contains("another run"));
      }
    }
    Chats::ask(*run, question);
    in_two.push_back(Chats::finish(*run).text);
  }
  CHECK(in_two == in_one);
  CHECK(conversation->messages().size() == 4);
}

TEST_CASE("parameters that change between answers count from the next one on", "[unit][chat]") {
  const TinyTrunkFile file;
  Chats chats(file.path().string());
  RunOptions options;
  options.params = {{"max_tokens", std::int64_t{30}}};
  auto run = chats.open(options);
  Chats::ask(*run, "One", false);
  const std::string first = Chats::answer(*run, true);
  run->set_params({{"max_tokens", std::int64_t{3}}});
  Chats::ask(*run, "Two");
  const std::string second = Chats::answer(*run);
  CHECK(second.size() < first.size());  // a token is a byte, or a character that was not whole
  CHECK(second.size() <= 3 * 3);
  CHECK_THROWS_WITH(run->set_params({{"strict", true}}), Contains("strict"));
}
