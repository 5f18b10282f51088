// The turn state machine on made-up probabilities.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "turns/turn_detector.h"

using morph::TurnMarker;
using morph::audio::TurnDetector;
using morph::audio::TurnRules;

namespace {

/// Runs "SSSS....": S speech, . silence, - between the thresholds. Returns what happened: "3>7p1" = start at window 3,
/// pause 1 at window 7; r resume, e end.
std::string turns(const std::string& windows, const TurnRules& rules = {}, bool finish = true) {
  TurnDetector detector(rules);
  std::string happened;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const TurnDetector::Decision decision = detector.add(windows[i] == 'S' ? 0.9f : windows[i] == '-' ? 0.4f : 0.01f);
    if (decision.marker == TurnMarker::none) continue;
    happened += std::to_string(i) + std::string(" >pre").substr(static_cast<std::size_t>(decision.marker), 1);
    if (decision.marker != TurnMarker::speech_start) happened += std::to_string(decision.pause_index);
    happened += " ";
  }
  if (finish)
    if (const auto end = detector.finish()) happened += "f" + std::to_string(end->pause_index);
  return happened;
}

std::string many(char what, int n) { return std::string(static_cast<std::size_t>(n), what); }

}  // namespace

TEST_CASE("a turn starts, pauses and ends", "[unit][audio]") {
  // 0.2 s are 7 windows, 0.6 s are 19.
  CHECK(turns(many('.', 10) + many('S', 20) + many('.', 30)) == "16> 36p1 48e1 ");
}

TEST_CASE("a pause that was none is taken back", "[unit][audio]") {
  CHECK(turns(many('S', 10) + many('.', 8) + many('S', 10) + many('.', 30)) == "6> 16p1 19r1 34p2 46e2 ");
  // One window of noise in a pause takes nothing back, nor does it lengthen the turn.
  CHECK(turns(many('S', 10) + many('.', 8) + "S" + many('.', 20)) == "6> 16p1 28e1 ");
}

TEST_CASE("short sounds are no turn", "[unit][audio]") {
  CHECK(turns(many('S', 6) + many('.', 30)).empty());
  CHECK(turns("SSS..S..SSS" + many('.', 30)) == "10> 17p1 29e1 ");  // short gaps belong to a word
  CHECK(turns("SS....SS....SS....SS....").empty());
}

TEST_CASE("between the thresholds a window is what the one before was", "[unit][audio]") {
  CHECK(turns(many('S', 10) + many('-', 40), {}, false) == "6> ");
  CHECK(turns(many('S', 10) + "." + many('-', 40), {}, false) == "6> 16p1 28e1 ");
}

TEST_CASE("an open turn ends with the input and after the longest time", "[unit][audio]") {
  CHECK(turns(many('S', 20)) == "6> f1");
  CHECK(turns(many('S', 20) + many('.', 10)) == "6> 26p1 f1");
  CHECK(turns(many('.', 5)).empty());
  TurnRules rules;
  rules.max_turn_s = 0.96;  // 30 windows
  CHECK(turns(many('S', 50), rules, false) == "6> 29e1 36> ");
}

TEST_CASE("a turn that is forgotten has no end, and counts as a pause", "[unit]") {
  TurnDetector detector(TurnRules{});
  const auto add = [&](float probability, int n) {
    std::vector<TurnMarker> markers;
    std::uint64_t pause = 0;
    for (int i = 0; i < n; ++i) {
      const TurnDetector::Decision decision = detector.add(probability);
      if (decision.marker != TurnMarker::none) markers.push_back(decision.marker);
      pause = std::max(pause, decision.pause_index);
    }
    return std::make_pair(markers, pause);
  };
  CHECK(add(0.9f, 20).first == std::vector<TurnMarker>{TurnMarker::speech_start});
  CHECK(add(0.1f, 8).second == 1);
  detector.forget_turn();
  CHECK(add(0.1f, 40).first.empty());  // no end of what was dropped
  CHECK_FALSE(detector.finish());
  CHECK(add(0.9f, 20).first == std::vector<TurnMarker>{TurnMarker::speech_start});
  CHECK(add(0.1f, 8).second == 3);
}
