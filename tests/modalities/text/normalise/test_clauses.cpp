// Clauses: where a streamed answer is cut, and that nothing is lost on the way.
#include <catch2/catch.hpp>

#include "morph/registry.h"
#include "morph/text.h"
#include "normalise/clause_splitter.h"
#include "testing/stage_harness.h"

using namespace morph;
using morph::testing::StageHarness;
using morph::text::ClauseSplitter;

namespace morph::text {
void register_clauses(Registry& registry);
}

namespace {

/// Fed in pieces of `step` bytes.
std::vector<std::string> split(const std::string& text, std::size_t step) {
  ClauseSplitter splitter;
  std::vector<std::string> clauses;
  for (std::size_t at = 0; at < text.size(); at += step) {
    splitter.add(text.substr(at, step));
    while (auto clause = splitter.take(false)) clauses.push_back(*clause);
  }
  while (auto clause = splitter.take(true)) clauses.push_back(*clause);
  return clauses;
}

Text piece(const std::string& utf8, std::size_t end, bool last) {
  Text text;
  text.utf8 = utf8;
  text.answer_end = end;
  text.last_of_answer = last;
  return text;
}

const StageSpec& spec() {
  static const auto registry = [] {
    auto made = std::make_unique<Registry>();
    text::register_clauses(*made);
    return made;
  }();
  return *registry->find_stage("text/clauses");
}

}  // namespace

TEST_CASE("clauses end where a speaker would pause", "[unit][clauses]") {
  using List = std::vector<std::string>;
  const std::vector<List> cases = {
      {"The capital of France is Paris."},
      {"Yes. ", "It is."},
      {"Well, that is one way, ", "and there are others too."},  // two words are too few for a first clause
      {"Dr. Smith paid $3.14, ", "at 10:30 a.m. on Monday. ", "Then he left."},
      {"It costs 1,000 dollars now. ", "Really?"},
      {"The U.S. is large. ", "Agreed!"},
      {"He said \"no.\" ", "Then he left."},
      {"See no. 5 and fig. 2 there. ", "Good."},
      {"1. Boil the water. ", "2. Add the egg."},
      {"First line\n", "second line"},
      {"We walked all the way home ", "because the bus was late."},
      {"e.g. apples and pears are fruit."},
      {"東京です。", "はい。"},
  };
  for (const List& want : cases) {
    std::string whole;
    for (const std::string& clause : want) whole += clause;
    for (std::size_t step : {std::size_t{1}, std::size_t{4}, whole.size()}) {
      INFO(whole << " in steps of " << step);
      CHECK(split(whole, step) == want);
    }
  }
}

TEST_CASE("later clauses are cut at commas only when long, and never grow without end", "[unit][clauses]") {
  const std::string text =
      "Short one here. Then a sentence, with a comma early, that goes on for quite some more words than twelve, "
      "and ends.";
  const auto clauses = split(text, 3);
  REQUIRE(clauses.size() == 3);
  CHECK(clauses[1].find("twelve, ") != std::string::npos);
  std::string endless;
  for (int i = 0; i < 200; ++i) endless += "word ";
  for (const std::string& clause : split(endless, 7)) CHECK(clause.size() <= 5 * 41);
}

TEST_CASE("the stage keeps the answer's bytes, its end and its epoch", "[unit][clauses]") {
  StageHarness harness(spec());
  const std::string answer = "Paris. It is the capital, of course.";
  std::size_t end = 0;
  for (char c : answer) {
    Packet packet = Packet::data(std::make_shared<const Text>(piece(std::string(1, c), ++end, false)));
    packet.epoch = 5;
    harness.feed("text", std::move(packet));
  }
  harness.run();
  auto early = harness.take("text");
  REQUIRE_FALSE(early.empty());
  CHECK(early[0].as<Text>().utf8 == "Paris. ");
  CHECK(early[0].as<Text>().answer_end == 7);
  CHECK_FALSE(early[0].as<Text>().last_of_answer);
  CHECK(early[0].epoch == 5);
  Packet last = Packet::data(std::make_shared<const Text>(piece("", end, true)));
  last.epoch = 5;
  harness.feed("text", std::move(last));
  harness.end("text");
  CHECK(harness.run() == StepStatus::done);
  const auto rest = harness.take_as<Text>("text");
  REQUIRE_FALSE(rest.empty());
  CHECK(rest.back().last_of_answer);
  CHECK(rest.back().answer_end == answer.size());
  std::string joined;
  for (const auto& packet : early) joined += packet.as<Text>().utf8;
  for (const auto& clause : rest) joined += clause.utf8;
  CHECK(joined == answer);
}

TEST_CASE("an answer that ends on a cut still says that it ended", "[unit][clauses]") {
  StageHarness harness(spec());
  harness.feed("text", piece("Done.\n", 6, false));
  harness.feed("text", piece("", 6, true));
  harness.run();
  const auto clauses = harness.take_as<Text>("text");
  REQUIRE(clauses.size() == 2);
  CHECK(clauses[1].utf8.empty());
  CHECK(clauses[1].last_of_answer);
  CHECK(clauses[1].answer_end == 6);
}

TEST_CASE("a flush drops what was begun, a revise replaces it", "[unit][clauses]") {
  StageHarness harness(spec());
  Packet stale = Packet::data(std::make_shared<const Text>(piece("This is never", 13, false)));
  stale.epoch = 1;
  harness.feed("text", stale);
  harness.run();
  harness.flush(2);
  Packet fresh = Packet::data(std::make_shared<const Text>(piece("Fresh.", 6, true)));
  fresh.epoch = 2;
  harness.feed("text", fresh);
  harness.run();
  auto packets = harness.take("text");
  std::string said;
  for (const auto& packet : packets)
    if (packet.payload) said += packet.as<Text>().utf8;
  CHECK(said == "Fresh.");

  StageHarness other(spec());
  other.feed("text", piece("One. ", 5, false));
  other.run();
  Packet again = Packet::data(std::make_shared<const Text>(piece("Two. ", 5, true)));
  again.kind = PacketKind::revise;
  again.since = 0;
  other.feed("text", again);
  other.run();
  packets = other.take("text");
  REQUIRE(packets.size() >= 1);
  CHECK(packets.back().as<Text>().utf8 == "Two. ");
  if (packets.size() > 1) {
    CHECK(packets.back().kind == PacketKind::revise);
    CHECK(packets.back().since == packets.front().sequence);
  }
}
