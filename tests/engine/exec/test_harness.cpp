// The stage harness itself, on stub stages.
#include <catch2/catch.hpp>
#include <thread>

#include "morph/registry.h"
#include "testing/fake_clock.h"
#include "testing/stage_harness.h"
#include "testing/stub_stages.h"

using namespace morph;
using namespace morph::testing;

TEST_CASE("the harness feeds, ends, steps and collects", "[unit]") {
  Registry registry;
  register_stubs(registry);
  StageHarness harness(*registry.find_stage("test/add"), Params({{"add", std::int64_t{10}}}));
  CHECK(harness.run() == StepStatus::need_input);
  harness.feed("in0", number(1));
  harness.feed("in0", number(2));
  CHECK(harness.available("in0") == 2);
  CHECK(harness.run() == StepStatus::need_input);
  harness.end("in0");
  CHECK(harness.run() == StepStatus::done);
  const auto packets = harness.take("out0");
  REQUIRE(packets.size() == 2);
  CHECK(number_of(packets[1]) == 12);
  CHECK(packets[1].sequence == 1);
  CHECK(harness.take("out0").empty());
  CHECK_THROWS_AS(harness.feed("nothing", number(1)), Error);
  CHECK_THROWS_AS(StageHarness(*registry.find_stage("test/add"), Params({{"ad", std::int64_t{1}}})), Error);
}

TEST_CASE("the harness shows a stage limited room", "[unit]") {
  Registry registry;
  register_stubs(registry);
  StageHarness harness(*registry.find_stage("test/count"));
  harness.set_space("out0", 3);
  CHECK(harness.run() == StepStatus::output_full);
  CHECK(harness.take("out0").size() == 3);
  CHECK(harness.run() == StepStatus::output_full);
  CHECK(harness.take("out0").size() == 3);
}

TEST_CASE("the harness flushes as the scheduler does", "[unit]") {
  const StageSpec spec = stub_spec("pass", 1, 1);
  StageHarness harness(mapping_stage([](std::int64_t value) { return value; }), spec);
  harness.feed("in0", number(1));
  harness.run();
  harness.feed("in0", number(2));
  harness.flush(4);
  CHECK(harness.available("in0") == 0);
  CHECK(harness.take("out0").empty());
  Packet next = number(3);
  next.epoch = 4;
  harness.feed("in0", next);
  harness.run();
  const auto packets = harness.take("out0");
  REQUIRE(packets.size() == 1);
  CHECK(packets[0].epoch == 4);
  CHECK(static_cast<StubState&>(harness.state()).flushed == std::vector<std::uint64_t>{4});
}

TEST_CASE("the harness waits for wakers and finds stages that never rest", "[unit]") {
  const StageSpec spec = stub_spec("wait", 0, 0);
  std::thread waker;
  StageHarness waiting(std::make_shared<StubStage>([&waker](StubState& state, StageIo& io) {
                         if (state.counter++ > 0) return StepStatus::done;
                         waker = std::thread(io.waker());
                         return StepStatus::waiting;
                       }),
                       spec);
  CHECK(waiting.run() == StepStatus::done);
  waker.join();
  StageHarness restless(std::make_shared<StubStage>([](StubState&, StageIo&) { return StepStatus::ready; }), spec);
  CHECK_THROWS_AS(restless.run(100), Error);
}

TEST_CASE("the fake clock moves only by hand", "[unit]") {
  FakeClock clock;
  const auto now = clock.function();
  CHECK(now() == StreamTime(0));
  clock.advance(std::chrono::milliseconds(5));
  CHECK(now() == std::chrono::milliseconds(5));
}
