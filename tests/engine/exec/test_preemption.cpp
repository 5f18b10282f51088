// A voice beside a painter, on a clock that moves by hand: 64 voice-like sessions open and close at random beside a
// background run of steps that take three seconds each, on one worker. Nothing is measured; the clock is the test's.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>

#include "engine/exec/scheduler_driver.h"

using namespace morph;
using namespace morph::testing;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kPart(15), kHeavy(3000), kVoice(4);

/// One worker that steps painter and voices; time passes only in here.
class Studio {
 public:
  /// `yields`: the painter asks between its parts whether someone more urgent waits.
  explicit Studio(bool yields) {
    StageSpec spec = stub_spec("paint", 0, 0, StageLoad::heavy);
    painter_.add("paint", spec, std::make_shared<StubStage>([this, yields](StubState& state, StageIo& io) {
                   for (StreamTime begun = driver_.now; driver_.now - begun < kHeavy;) {
                     driver_.now += kPart;
                     ++state.counter;
                     ++n_parts_;
                     admit();
                     if (yields && io.should_yield()) break;  // keeps what it has done
                   }
                   return StepStatus::ready;
                 }));
    StageSpec voice = stub_spec("speak", 0, 0, StageLoad::heavy);
    voice_.add("speak", voice, std::make_shared<StubStage>([this](StubState& state, StageIo&) {
                 driver_.now += kVoice;
                 return ++state.counter < 6 ? StepStatus::ready : StepStatus::done;
               }));
  }

  /// Waits of the voices' steps over half a minute, sorted.
  std::vector<StreamTime> run() {
    RunOptions background;
    background.priority = Priority::background;
    const auto painting = driver_.start(painter_, background);
    for (int i = 0; i < 64 * 4; ++i)  // each of 64 comes four times
      arrivals_.push_back(std::chrono::microseconds(random_() % 30'000'000));
    std::sort(arrivals_.begin(), arrivals_.end());
    const exec::LaneId lane = driver_.scheduler.heavy_lane("cpu");
    std::vector<StreamTime> waits;
    while (next_ < arrivals_.size() || waits.size() < 64 * 4) {
      admit();
      auto step = driver_.pick(lane);
      REQUIRE(step);  // the painter is always ready
      const bool voice = step->items[0].node->name == "speak";
      if (voice) waits.push_back(driver_.now - step->items[0].node->ready_since);
      if (voice && random_() % 16 == 0) driver_.scheduler.cancel(*step->items[0].graph, driver_.now);
      driver_.finish(*step);
      if (driver_.now > std::chrono::minutes(2)) break;
    }
    driver_.scheduler.cancel(*painting, driver_.now);
    driver_.collect();
    std::sort(waits.begin(), waits.end());
    return waits;
  }
  int n_parts() const { return n_parts_; }

 private:
  /// Opens the sessions whose time has come, at their time.
  void admit() {
    RunOptions urgent;
    urgent.priority = Priority::realtime;
    for (; next_ < arrivals_.size() && arrivals_[next_] <= driver_.now; ++next_) {
      const auto graph = driver_.make(voice_, urgent);
      driver_.scheduler.start(graph, arrivals_[next_]);
    }
  }

  Driver driver_;
  PlanBuilder painter_, voice_;
  std::vector<StreamTime> arrivals_;
  std::size_t next_ = 0;
  int n_parts_ = 0;
  std::mt19937 random_{11};
};

StreamTime p99(const std::vector<StreamTime>& waits) { return waits.at(waits.size() * 99 / 100); }

}  // namespace

TEST_CASE("voices wait for a part of a heavy step, not for the step, and the painter goes on", "[unit]") {
  Studio polite(true), rude(false);
  const auto with = polite.run(), without = rude.run();
  REQUIRE(with.size() > 1000);
  CHECK(p99(with) < 4 * kPart + 8 * kVoice);  // a part, and other voices that came meanwhile
  CHECK(with[with.size() / 2] < kPart);
  CHECK(p99(without) > kHeavy / 2);  // what it is without the question
  CHECK(polite.n_parts() > 100);
}
