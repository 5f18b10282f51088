// The scheduler as a state machine: fake stages, no threads, no clock.
#include <algorithm>
#include <catch2/catch.hpp>

#include "scheduler_driver.h"

using namespace morph;
using namespace morph::testing;
using exec::NodePhase;
using exec::Scheduler;

TEST_CASE("a chain delivers everything in order and the run finishes", "[unit]") {
  auto seen = std::make_shared<std::vector<std::int64_t>>();
  PlanBuilder plan;
  const int a = plan.add("count", stub_spec("count", 0, 1), counting_stage(20));
  const int b = plan.add("double", stub_spec("double", 1, 1), mapping_stage([](std::int64_t x) { return 2 * x; }));
  const int c = plan.add("collect", stub_spec("collect", 1, 0), collecting_stage(seen));
  plan.link(a, 0, b, 0, 2).link(b, 0, c, 0, 1);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  CHECK(graph->state == RunState::finished);
  CHECK(graph->quiescent());
  REQUIRE(seen->size() == 20);
  for (std::size_t i = 0; i < 20; ++i) CHECK((*seen)[i] == static_cast<std::int64_t>(2 * i));
  CHECK(graph->node(b).metrics.packets_in == 20);
  CHECK(graph->node(b).metrics.packets_out == 20);
}

TEST_CASE("a blocking link bounds what waits on it", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("count", stub_spec("count", 0, 1), counting_stage(1000));
  const int out = plan.read("out");
  plan.link(a, 0, out, 0, 3);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  CHECK(graph->state == RunState::running);
  CHECK(graph->links[0].queue.length() == 3);
  std::int64_t expected = 0;
  for (;;) {
    auto packet = driver.scheduler.read(graph, graph->node(out), driver.now);
    if (!packet) {
      REQUIRE(driver.run() > 0);
      continue;
    }
    if (packet->kind == PacketKind::end) break;
    CHECK(number_of(*packet) == expected);
    CHECK(packet->sequence == static_cast<std::uint64_t>(expected));
    ++expected;
  }
  CHECK(expected == 1000);
  CHECK(graph->links[0].queue.max_length() == 3);
  CHECK(graph->state == RunState::finished);
}

TEST_CASE("a step may push beyond space, then its node blocks", "[unit]") {
  PlanBuilder plan;
  const int a =
      plan.add("burst", stub_spec("burst", 0, 1), std::make_shared<StubStage>([](StubState& state, StageIo& io) {
                 for (int i = 0; i < 5; ++i) io.push(0, number(state.counter++));
                 return StepStatus::ready;
               }));
  const int out = plan.read("out");
  plan.link(a, 0, out, 0, 2);
  Driver driver;
  auto graph = driver.start(plan);
  CHECK(driver.run(50) == 1);
  CHECK(graph->links[0].queue.length() == 5);
  for (int i = 0; i < 3; ++i) driver.scheduler.read(graph, graph->node(out), driver.now);
  CHECK(driver.run(50) == 0);
  driver.scheduler.read(graph, graph->node(out), driver.now);
  CHECK(driver.run(50) == 1);
}

TEST_CASE("higher classes go first, then nearest to a sink, then in turn", "[unit]") {
  PlanBuilder plan;
  auto seen = std::make_shared<std::vector<std::int64_t>>();
  const int a = plan.add("far", stub_spec("far", 0, 1), counting_stage(2));
  const int b = plan.add("near", stub_spec("near", 1, 0), collecting_stage(seen));
  plan.link(a, 0, b, 0);
  Driver driver;
  RunOptions background, realtime;
  background.priority = Priority::background;
  realtime.priority = Priority::realtime;
  auto low = driver.start(plan, background);
  auto high = driver.start(plan, realtime);
  auto step = driver.pick();
  REQUIRE(step);
  CHECK(step->items[0].graph == high);
  CHECK(step->items[0].node->name == "near");  // distance 0 before distance 1
  driver.finish(*step);
  step = driver.pick();
  CHECK(step->items[0].graph == high);
  CHECK(step->items[0].node->name == "far");
  driver.finish(*step);
  driver.run();
  CHECK(low->state == RunState::finished);

  PlanBuilder endless;
  endless.add("spin", stub_spec("spin", 0, 0),
              std::make_shared<StubStage>([](StubState&, StageIo&) { return StepStatus::ready; }));
  auto first = driver.start(endless);
  auto second = driver.start(endless);
  std::vector<const exec::RunGraph*> turns;
  for (int i = 0; i < 6; ++i) {
    auto one = driver.pick();
    turns.push_back(one->items[0].graph.get());
    driver.finish(*one);
  }
  for (int i = 0; i + 1 < 6; ++i) CHECK(turns[static_cast<std::size_t>(i)] != turns[static_cast<std::size_t>(i + 1)]);
}

TEST_CASE("states of several runs with one key are stepped together", "[unit]") {
  auto stage = std::make_shared<StubStage>(nullptr);
  stage->batch = [](std::span<StepItem> items) {
    for (StepItem& item : items) {
      if (item.io->available(0) > 0) item.io->push(0, item.io->take(0));
      item.status = item.io->ended(0) ? StepStatus::done : StepStatus::need_input;
    }
  };
  StageSpec spec = stub_spec("batch", 1, 1, StageLoad::heavy);
  spec.max_batch = 3;
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int b = plan.add("batch", spec, stage);
  const int out = plan.read("out");
  plan.link(in, 0, b, 0).link(b, 0, out, 0);
  Driver driver;
  std::vector<std::shared_ptr<exec::RunGraph>> runs;
  for (int i = 0; i < 5; ++i) runs.push_back(driver.start(plan));
  RunOptions strict;
  strict.strict = true;
  runs.push_back(driver.start(plan, strict));
  driver.run();
  driver.batch_sizes.clear();
  for (auto& run : runs) {
    Packet packet = number(7);
    CHECK(driver.scheduler.feed(run, run->node(in), packet, driver.now) == FeedStatus::accepted);
  }
  driver.run();
  std::sort(driver.batch_sizes.begin(), driver.batch_sizes.end());
  CHECK(driver.batch_sizes == std::vector<std::size_t>{1, 2, 3});
  for (auto& run : runs) {
    auto packet = driver.scheduler.read(run, run->node(out), driver.now);
    REQUIRE(packet);
    CHECK(number_of(*packet) == 7);
  }
  CHECK(runs[0]->node(b).metrics.max_batch == 3);
  CHECK(runs[5]->node(b).metrics.max_batch == 1);
}

TEST_CASE("different batch keys are not mixed", "[unit]") {
  auto stage = std::make_shared<StubStage>(
      [](StubState& state, StageIo&) { return ++state.counter < 3 ? StepStatus::ready : StepStatus::done; });
  stage->key = [](const StubState& state) { return static_cast<std::uint64_t>(state.counter); };
  StageSpec spec = stub_spec("key", 0, 0);
  spec.max_batch = 8;
  PlanBuilder plan;
  plan.add("key", spec, stage);
  Driver driver;
  auto first = driver.start(plan);
  driver.step();  // one ahead
  auto second = driver.start(plan);
  auto step = driver.pick();
  CHECK(step->items.size() == 1);
  driver.finish(*step);
  driver.run();
  CHECK(first->state == RunState::finished);
  CHECK(second->state == RunState::finished);
}

namespace {

/// A heavy stage of batches in "pipe" between "in" and "out".
struct BatchPlan {
  PlanBuilder plan{"pipe"};
  int in = 0, node = 0, out = 0;

  explicit BatchPlan(std::function<void(std::span<StepItem>)> step) {
    auto stage = std::make_shared<StubStage>(nullptr);
    stage->batch = std::move(step);
    StageSpec spec = stub_spec("batch", 1, 1);
    spec.max_batch = 4;
    in = plan.feed("in");
    node = plan.add("batch", spec, stage);
    out = plan.read("out");
    plan.link(in, 0, node, 0).link(node, 0, out, 0);
  }
};

}  // namespace

TEST_CASE("an item that fails ends its run and no other, and nobody is stepped twice", "[unit]") {
  const BatchPlan one([](std::span<StepItem> items) {
    for (StepItem& item : items) {
      ++static_cast<StubState&>(*item.state).counter;
      if (item.io->available(0) > 0) {
        Packet packet = item.io->take(0);
        item.io->push(0, packet);
        if (number_of(packet) == 13) item.fail(Error(ErrorCode::format, "inner", "thirteen"));
      }
      item.status = item.io->ended(0) ? StepStatus::done : StepStatus::need_input;
    }
  });
  Driver driver;
  auto good = driver.start(one.plan);
  auto bad = driver.start(one.plan);
  driver.run();
  Packet fine = number(1), guilty = number(13);
  driver.scheduler.feed(bad, bad->node(one.in), guilty, driver.now);
  driver.scheduler.feed(good, good->node(one.in), fine, driver.now);
  driver.batch_sizes.clear();
  const std::int64_t before = static_cast<StubState&>(*good->node(one.node).state).counter;
  driver.run();
  CHECK(driver.batch_sizes == std::vector<std::size_t>{2});
  CHECK(static_cast<StubState&>(*good->node(one.node).state).counter == before + 1);
  CHECK(good->state == RunState::running);
  auto packet = driver.scheduler.read(good, good->node(one.out), driver.now);
  REQUIRE(packet);
  CHECK(number_of(*packet) == 1);
  CHECK(packet->sequence == 0);
  CHECK_FALSE(driver.scheduler.read(good, good->node(one.out), driver.now));
  REQUIRE(bad->state == RunState::failed);
  CHECK(bad->error->where() == "pipe/batch");
  CHECK(bad->error->message() == "inner: thirteen");
  CHECK(bad->error->code() == ErrorCode::format);
  packet = driver.scheduler.read(bad, bad->node(one.out), driver.now);  // what the failed step sent is dropped
  REQUIRE(packet);
  CHECK(packet->kind == PacketKind::error);
  CHECK(packet->error->code() == ErrorCode::format);
}

TEST_CASE("of a batch that throws, those whose step had begun end and the others are stepped alone", "[unit]") {
  const BatchPlan one([](std::span<StepItem> items) {
    for (StepItem& item : items) {
      if (item.io->available(0) == 0) continue;
      const std::int64_t value = number_of(item.io->take(0));
      ++static_cast<StubState&>(*item.state).counter;
      if (value == 13 && items.size() > 1) throw Error(ErrorCode::format, "inner", "thirteen");
      item.io->push(0, number(value));
    }
  });
  Driver driver;
  std::vector<std::shared_ptr<exec::RunGraph>> runs;
  for (int i = 0; i < 3; ++i) runs.push_back(driver.start(one.plan));
  driver.run();
  for (int i = 0; i < 3; ++i) {
    Packet packet = number(i == 1 ? 13 : i);
    driver.scheduler.feed(runs[static_cast<std::size_t>(i)], runs[static_cast<std::size_t>(i)]->node(one.in), packet,
                          driver.now);
  }
  driver.batch_sizes.clear();
  driver.run();
  CHECK(driver.batch_sizes == std::vector<std::size_t>{3, 1});
  CHECK(runs[0]->state == RunState::failed);  // its step had begun: not to be done again
  CHECK(runs[1]->state == RunState::failed);
  REQUIRE(runs[2]->state == RunState::running);
  CHECK(static_cast<StubState&>(*runs[2]->node(one.node).state).counter == 1);
  auto packet = driver.scheduler.read(runs[2], runs[2]->node(one.out), driver.now);
  REQUIRE(packet);
  CHECK(number_of(*packet) == 2);
}

TEST_CASE("a batch that throws at once loses no flush, and keeps control events in order", "[unit]") {
  std::vector<std::string> heard;
  const BatchPlan plan([&heard](std::span<StepItem> items) {
    if (items.size() > 1 && items[0].io->available(0) > 0) throw Error(ErrorCode::format, "inner", "not together");
    for (StepItem& item : items) {
      while (auto event = item.io->next_control()) heard.push_back(event->name);
      if (item.io->available(0) > 0) item.io->push(0, item.io->take(0));
      item.status = StepStatus::need_input;
    }
  });
  Driver driver;
  auto one = driver.start(plan.plan);
  auto two = driver.start(plan.plan);
  driver.run();
  const auto control = [&](const std::string& name) {
    ControlEvent event;
    event.name = name;
    driver.scheduler.send_control(one, one->node(plan.out), event, driver.now);
  };
  Packet flush = Packet::flush(1), first = number(1), second = number(2);
  driver.scheduler.feed(one, one->node(plan.in), flush, driver.now);
  driver.scheduler.feed(one, one->node(plan.in), first, driver.now);
  driver.scheduler.feed(two, two->node(plan.in), second, driver.now);
  control("earlier");
  auto& state = static_cast<StubState&>(*one->node(plan.node).state);
  auto step = driver.pick();
  REQUIRE(step);
  REQUIRE(step->items.size() == 2);
  control("later");  // while the batch is under way
  driver.finish(*step);
  driver.run();
  CHECK(heard == std::vector<std::string>{"earlier", "later"});
  CHECK(state.flushed == std::vector<std::uint64_t>{1});  // told once, though the step came twice
  CHECK(one->state == RunState::running);
}

TEST_CASE("a flush drops what is older over the whole way and reaches states between steps", "[unit]") {
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int other = plan.feed("other");
  const int a = plan.add("a", stub_spec("a", 1, 1), mapping_stage(identity));
  const int b =
      plan.add("b", stub_spec("b", 2, 1), joining_stage([](const std::vector<std::int64_t>& n) { return n.front(); }));
  const int out = plan.read("out");
  plan.link(in, 0, a, 0).link(a, 0, b, 0).link(other, 0, b, 1).link(b, 0, out, 0, 2);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  const auto feed = [&](int node, Packet packet) {
    return driver.scheduler.feed(graph, graph->node(node), packet, driver.now);
  };
  for (int i = 0; i < 4; ++i) feed(in, number(i));
  for (int i = 0; i < 3; ++i) feed(other, number(100 + i));
  driver.run();  // two at the reader, then b is blocked
  CHECK(graph->links[3].queue.length() == 2);
  CHECK(graph->links[1].queue.length() == 2);
  CHECK(graph->links[2].queue.length() == 1);

  // A step of b that is under way when the flush comes sends into the old epoch: it is dropped.
  driver.scheduler.read(graph, graph->node(out), driver.now);
  auto running = driver.pick();
  REQUIRE(running);
  REQUIRE(running->items[0].node->name == "b");
  CHECK(feed(in, Packet::flush(1)) == FeedStatus::accepted);
  driver.finish(*running);
  auto packet = driver.scheduler.read(graph, graph->node(out), driver.now);
  REQUIRE(packet);
  CHECK(packet->kind == PacketKind::flush);
  CHECK(packet->epoch == 1);
  CHECK_FALSE(driver.scheduler.read(graph, graph->node(out), driver.now));
  CHECK(graph->links[1].queue.empty());

  driver.run();
  auto& state_a = static_cast<StubState&>(*graph->node(a).state);
  auto& state_b = static_cast<StubState&>(*graph->node(b).state);
  CHECK(state_a.flushed == std::vector<std::uint64_t>{1});
  CHECK(state_b.flushed == std::vector<std::uint64_t>{1});

  // The new epoch flows; the other source, which the flush does not lead to, still counts.
  feed(in, number(50));
  feed(other, number(200));
  driver.run();
  packet = driver.scheduler.read(graph, graph->node(out), driver.now);
  REQUIRE(packet);
  CHECK(number_of(*packet) == 50);
  CHECK(packet->epoch == 1);
  feed(in, Packet::flush(1));  // a flush that is no news changes nothing
  driver.run();
  CHECK(state_b.flushed.size() == 1);
}

TEST_CASE("a flush that a stage pushes goes in order with what it sends", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("a", stub_spec("a", 0, 1), std::make_shared<StubStage>([](StubState&, StageIo& io) {
                           if (!io.connected_output(0)) return StepStatus::done;
                           io.push(0, number(1));
                           io.push(0, Packet::flush(7));
                           io.push(0, number(2));
                           return StepStatus::done;
                         }));
  const int out = plan.read("out");
  plan.link(a, 0, out, 0);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  auto packet = driver.scheduler.read(graph, graph->node(out), driver.now);
  REQUIRE(packet);
  CHECK(packet->kind == PacketKind::flush);
  packet = driver.scheduler.read(graph, graph->node(out), driver.now);
  REQUIRE(packet);
  CHECK(number_of(*packet) == 2);
  CHECK(packet->epoch == 7);
  packet = driver.scheduler.read(graph, graph->node(out), driver.now);
  CHECK(packet->kind == PacketKind::end);
}

TEST_CASE("revise passes through with what it supersedes", "[unit]") {
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int a = plan.add("a", stub_spec("a", 1, 1), mapping_stage(identity));
  const int out = plan.read("out");
  plan.link(in, 0, a, 0).link(a, 0, out, 0);
  Driver driver;
  auto graph = driver.start(plan);
  Packet first = number(1), second = number(2);
  second.kind = PacketKind::revise;
  second.since = 0;
  driver.scheduler.feed(graph, graph->node(in), first, driver.now);
  driver.scheduler.feed(graph, graph->node(in), second, driver.now);
  driver.run();
  CHECK(driver.scheduler.read(graph, graph->node(out), driver.now)->kind == PacketKind::data);
  auto packet = driver.scheduler.read(graph, graph->node(out), driver.now);
  CHECK(packet->kind == PacketKind::revise);
  CHECK(packet->sequence == 1);
}

TEST_CASE("end, error and cancel are told apart by the reader", "[unit]") {
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int a = plan.add("a", stub_spec("a", 1, 1), mapping_stage([](std::int64_t value) {
                           if (value < 0) throw std::runtime_error("negative");
                           return value;
                         }));
  const int out = plan.read("out");
  plan.link(in, 0, a, 0).link(a, 0, out, 0);
  Driver driver;
  const auto last = [&](int how) {
    auto graph = driver.start(plan);
    Packet packet = number(how == 1 ? -1 : 1);
    driver.scheduler.feed(graph, graph->node(in), packet, driver.now);
    driver.run();
    if (how == 0) driver.scheduler.end_input(graph, graph->node(in), driver.now);
    if (how == 2) driver.scheduler.cancel(*graph, driver.now);
    driver.run();
    std::vector<PacketKind> kinds;
    while (auto one = driver.scheduler.read(graph, graph->node(out), driver.now)) {
      kinds.push_back(one->kind);
      if (one->ends_stream()) break;
    }
    CHECK(graph->quiescent());
    return kinds;
  };
  CHECK(last(0) == std::vector<PacketKind>{PacketKind::data, PacketKind::end});
  CHECK(last(1) == std::vector<PacketKind>{PacketKind::error});
  CHECK(last(2) == std::vector<PacketKind>{PacketKind::cancel});
}

TEST_CASE("lossy links keep the newest and count what they drop", "[unit]") {
  for (const QueuePolicy policy : {QueuePolicy::drop_oldest, QueuePolicy::latest}) {
    PlanBuilder plan;
    const int a = plan.add("count", stub_spec("count", 0, 1), counting_stage(10));
    const int out = plan.read("out");
    plan.link(a, 0, out, 0, 4, policy);
    Driver driver;
    auto graph = driver.start(plan);
    driver.run();
    CHECK(graph->state == RunState::finished);
    const std::size_t kept = policy == QueuePolicy::latest ? 1 : 4;
    CHECK(graph->links[0].queue.dropped() == 10 - kept);
    auto packet = driver.scheduler.read(graph, graph->node(out), driver.now);
    REQUIRE(packet);
    CHECK(number_of(*packet) == static_cast<std::int64_t>(10 - kept));
  }
}

TEST_CASE("control events reach every stage upstream, also one that is blocked", "[unit]") {
  auto heard = std::make_shared<std::vector<std::string>>();
  const auto listener = [heard](const std::string& name) {
    return std::make_shared<StubStage>([heard, name](StubState& state, StageIo& io) {
      while (auto event = io.next_control()) heard->push_back(name + ":" + event->name);
      if (io.connected_input(0) && io.available(0) > 0 && io.space(0) > 0) {
        io.push(0, io.take(0));
        return StepStatus::ready;
      }
      if (!io.connected_input(0) && io.space(0) > 0) {
        io.push(0, number(state.counter++));
        return StepStatus::ready;
      }
      return io.space(0) == 0 ? StepStatus::output_full : StepStatus::need_input;
    });
  };
  PlanBuilder plan;
  const int a = plan.add("a", stub_spec("a", 1, 1), listener("a"));
  const int b = plan.add("b", stub_spec("b", 1, 1), listener("b"));
  const int c =
      plan.add("side", stub_spec("side", 1, 0), collecting_stage(std::make_shared<std::vector<std::int64_t>>()));
  const int out = plan.read("out");
  plan.link(a, 0, b, 0, 1).link(b, 0, out, 0, 1).link(a, 0, c, 0, 1);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();  // everything is full
  ControlEvent event;
  event.name = "interrupted";
  driver.scheduler.send_control(graph, graph->node(out), event, driver.now);
  driver.run();
  std::sort(heard->begin(), heard->end());
  CHECK(*heard == std::vector<std::string>{"a:interrupted", "b:interrupted"});
}

TEST_CASE("a waiting stage goes on when woken, and a waker after the end is harmless", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("a", stub_spec("a", 0, 0), std::make_shared<StubStage>([](StubState& state, StageIo&) {
                           return ++state.counter < 3 ? StepStatus::waiting : StepStatus::done;
                         }));
  Driver driver;
  auto graph = driver.start(plan);
  CHECK(driver.run() == 1);
  driver.scheduler.wake(graph, graph->node(a), driver.now);
  driver.scheduler.wake(graph, graph->node(a), driver.now);
  CHECK(driver.run() == 1);
  auto running = driver.scheduler.pick(0, driver.now);
  CHECK_FALSE(running);
  driver.scheduler.wake(graph, graph->node(a), driver.now);
  CHECK(driver.run() == 1);
  CHECK(graph->state == RunState::finished);
  driver.scheduler.wake(graph, graph->node(a), driver.now);
  CHECK(driver.run() == 0);
}

TEST_CASE("a wake during a step is not lost", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("a", stub_spec("a", 0, 0), std::make_shared<StubStage>([](StubState& state, StageIo&) {
                           return ++state.counter < 2 ? StepStatus::waiting : StepStatus::done;
                         }));
  Driver driver;
  auto graph = driver.start(plan);
  auto step = driver.pick();
  REQUIRE(step);
  driver.scheduler.wake(graph, graph->node(a), driver.now);
  driver.finish(*step);
  CHECK(driver.run() == 1);
  CHECK(graph->state == RunState::finished);
}

TEST_CASE("uneven branches that meet again do not lock up: the held-up link grows", "[unit]") {
  // a sends 6 to one side before anything to the other; the join needs both.
  PlanBuilder plan;
  const int a = plan.add("a", stub_spec("a", 0, 2), std::make_shared<StubStage>([](StubState& state, StageIo& io) {
                           const int port = state.counter < 6 ? 0 : 1;
                           io.push(port, number(state.counter % 6));
                           return ++state.counter < 12 ? StepStatus::ready : StepStatus::done;
                         }));
  const int join = plan.add("join", stub_spec("join", 2, 1),
                            joining_stage([](const std::vector<std::int64_t>& n) { return n[0] + n[1]; }));
  auto seen = std::make_shared<std::vector<std::int64_t>>();
  const int sink = plan.add("sink", stub_spec("sink", 1, 0), collecting_stage(seen));
  plan.link(a, 0, join, 0, 2).link(a, 1, join, 1, 2).link(join, 0, sink, 0, 1);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  CHECK(graph->state == RunState::finished);
  CHECK(*seen == std::vector<std::int64_t>{0, 2, 4, 6, 8, 10});
  CHECK(graph->links[0].queue.capacity() == 8);  // 2 + 2 + 2 held six; a full link holds its source back
}

TEST_CASE("a fast source does not pile up while the other input is still alive", "[unit]") {
  PlanBuilder plan;
  const int fast = plan.add("fast", stub_spec("fast", 0, 1), counting_stage(100));
  const int slow = plan.feed("slow");
  const int join = plan.add("join", stub_spec("join", 2, 1),
                            joining_stage([](const std::vector<std::int64_t>& n) { return n[0] + n[1]; }));
  const int out = plan.read("out");
  plan.link(fast, 0, join, 0, 2).link(slow, 0, join, 1, 2).link(join, 0, out, 0, 2);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  CHECK(graph->links[0].queue.length() == 2);
  CHECK(graph->links[0].queue.capacity() == 2);
}

TEST_CASE("a stage that can never go on is named instead of hanging", "[unit]") {
  PlanBuilder plan("pipe");
  const int a = plan.add("count", stub_spec("count", 0, 1), counting_stage(3));
  const int b = plan.add("deaf", stub_spec("deaf", 1, 0),
                         std::make_shared<StubStage>([](StubState&, StageIo&) { return StepStatus::need_input; }));
  plan.link(a, 0, b, 0);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  REQUIRE(graph->state == RunState::failed);
  CHECK(graph->error->where() == "pipe/deaf");
  CHECK(graph->error->code() == ErrorCode::internal);
}

TEST_CASE("a sink that has enough ends the stages that nobody else reads", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("endless", stub_spec("endless", 0, 1), counting_stage(1'000'000'000));
  const int b = plan.add("map", stub_spec("map", 1, 1), mapping_stage(identity));
  const int c =
      plan.add("three", stub_spec("three", 1, 0), std::make_shared<StubStage>([](StubState& state, StageIo& io) {
                 while (io.available(0) > 0 && state.counter < 3) {
                   io.take(0);
                   ++state.counter;
                 }
                 return state.counter == 3 ? StepStatus::done : StepStatus::need_input;
               }));
  plan.link(a, 0, b, 0).link(b, 0, c, 0);
  Driver driver;
  auto graph = driver.start(plan);
  CHECK(driver.run(1000) < 100);
  CHECK(graph->state == RunState::finished);
}

TEST_CASE("a fan-out feeds every reader and the slowest holds the source back", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("count", stub_spec("count", 0, 1), counting_stage(100));
  const int slow = plan.read("slow");
  const int fast = plan.read("fast");
  plan.link(a, 0, slow, 0, 4).link(a, 0, fast, 0, 50);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  CHECK(graph->links[0].queue.length() == 4);
  CHECK(graph->links[1].queue.length() == 4);
}

TEST_CASE("a paused run starts no step and goes on where it was", "[unit]") {
  PlanBuilder plan;
  auto seen = std::make_shared<std::vector<std::int64_t>>();
  const int a = plan.add("count", stub_spec("count", 0, 1), counting_stage(10));
  const int b = plan.add("collect", stub_spec("collect", 1, 0), collecting_stage(seen));
  plan.link(a, 0, b, 0);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run(6);
  driver.scheduler.pause(*graph);
  CHECK(driver.run() == 0);
  driver.scheduler.resume(graph, driver.now);
  driver.run();
  CHECK(graph->state == RunState::finished);
  CHECK(seen->size() == 10);
}

TEST_CASE("cancel stops a run within the step under way", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("endless", stub_spec("endless", 0, 1), counting_stage(1'000'000'000));
  const int out = plan.read("out");
  plan.link(a, 0, out, 0);
  Driver driver;
  auto graph = driver.start(plan);
  auto step = driver.pick();
  REQUIRE(step);
  driver.scheduler.cancel(*graph, driver.now);
  CHECK_FALSE(graph->quiescent());
  CHECK(step->items[0].node->io.cancelled());
  driver.finish(*step);
  CHECK(graph->quiescent());
  CHECK(driver.run() == 0);
  CHECK(driver.scheduler.read(graph, graph->node(out), driver.now)->kind == PacketKind::cancel);
  CHECK(graph->links[0].queue.empty());
}

TEST_CASE("a delay link starts with an empty packet and closes a loop", "[unit]") {
  // acc: sum of the input and its own last output.
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int acc = plan.add("acc", stub_spec("acc", 2, 1), std::make_shared<StubStage>([](StubState&, StageIo& io) {
                             if (io.ended(0)) return StepStatus::done;
                             if (io.available(0) == 0 || io.available(1) == 0) return StepStatus::need_input;
                             const Packet back = io.take(1);
                             const std::int64_t last = back.payload ? number_of(back) : 0;
                             io.push(0, number(last + number_of(io.take(0))));
                             return StepStatus::ready;
                           }));
  const int out = plan.read("out");
  plan.link(in, 0, acc, 0).link(acc, 0, out, 0).link(acc, 0, acc, 1, 8, QueuePolicy::block, true);
  Driver driver;
  auto graph = driver.start(plan);
  for (int i = 1; i <= 4; ++i) {
    Packet packet = number(i);
    driver.scheduler.feed(graph, graph->node(in), packet, driver.now);
  }
  driver.scheduler.end_input(graph, graph->node(in), driver.now);
  driver.run();
  std::vector<std::int64_t> sums;
  while (auto packet = driver.scheduler.read(graph, graph->node(out), driver.now)) {
    if (packet->ends_stream()) break;
    sums.push_back(number_of(*packet));
  }
  CHECK(sums == std::vector<std::int64_t>{1, 3, 6, 10});
  CHECK(graph->state == RunState::finished);
}

TEST_CASE("a loop without a delay link is refused", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("a", stub_spec("a", 1, 1), mapping_stage(identity));
  const int b = plan.add("b", stub_spec("b", 1, 1), mapping_stage(identity));
  plan.link(a, 0, b, 0).link(b, 0, a, 0);
  CHECK_THROWS_AS(exec::make_run_graph(plan.plan(), plan.stages(), {}), Error);
}

TEST_CASE("stages of one run have their own seeds, and the same in every run", "[unit]") {
  CHECK(exec::stage_seed(1, "a") == exec::stage_seed(1, "a"));
  CHECK(exec::stage_seed(1, "a") != exec::stage_seed(1, "b"));
  CHECK(exec::stage_seed(1, "a") != exec::stage_seed(2, "a"));
}
