// What a scheduler must keep safe when streams meet, pile up or fail: flushes at joins in any order, links bounded in
// packets and bytes, the most urgent first in a batch, exceptions that end one run.
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <random>
#include <stdexcept>

#include "engine/exec/scheduler_driver.h"
#include "exec/executors.h"
#include "morph/registry.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace morph::builtin {
void register_payloads(Registry& registry);
}

namespace {

/// A state that notes which input was flushed to which epoch.
struct NotingState final : StageState {
  std::vector<std::pair<int, std::uint64_t>> flushed;
  void flush_input(int input, std::uint64_t epoch) override { flushed.emplace_back(input, epoch); }
};

/// Sends on whatever comes at either input, at once.
struct MergingStage final : Stage {
  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<NotingState>(); }
  void step(std::span<StepItem> items) const override {
    for (StepItem& item : items) {
      for (int port = 0; port < 2; ++port)
        while (item.io->available(port) > 0) {
          Packet packet = item.io->take(port);
          item.io->push(0, number(number_of(packet)));
        }
      item.status = item.io->ended(0) && item.io->ended(1) ? StepStatus::done : StepStatus::need_input;
    }
  }
};

/// Two fed streams that meet, then one stage more, then the reader.
struct Meeting {
  PlanBuilder plan;
  int a, b, join, after, out;
  Driver driver;
  std::shared_ptr<exec::RunGraph> graph;

  Meeting() {
    a = plan.feed("a");
    b = plan.feed("b");
    join = plan.add("join", stub_spec("join", 2, 1), std::make_shared<MergingStage>());
    after = plan.add("after", stub_spec("after", 1, 1), mapping_stage(identity));
    out = plan.read("out");
    plan.link(a, 0, join, 0, 100).link(b, 0, join, 1, 100).link(join, 0, after, 0, 100).link(after, 0, out, 0, 100);
    graph = driver.start(plan);
    driver.run();
  }
  void feed(int node, Packet packet) { driver.scheduler.feed(graph, graph->node(node), packet, driver.now); }
  /// What a listener is left with.
  std::vector<std::int64_t> heard() {
    driver.run();
    std::vector<Packet> kept;
    while (auto packet = driver.scheduler.read(graph, graph->node(out), driver.now)) {
      if (packet->kind == PacketKind::flush)
        std::erase_if(kept, [&](const Packet& one) { return one.epoch < packet->epoch; });
      else
        kept.push_back(std::move(*packet));
    }
    std::vector<std::int64_t> numbers;
    for (const Packet& packet : kept) numbers.push_back(number_of(packet));
    return numbers;
  }
  const NotingState& state() { return static_cast<const NotingState&>(*graph->node(join).state); }
};

}  // namespace

TEST_CASE("a join is told of every flush of its sources, whatever numbers they have and in whatever order", "[unit]") {
  const bool higher_first = GENERATE(true, false);
  Meeting meeting;
  const int first = higher_first ? meeting.a : meeting.b, second = higher_first ? meeting.b : meeting.a;
  meeting.feed(first, number(1));
  meeting.feed(second, number(2));
  meeting.driver.run();
  meeting.feed(first, Packet::flush(higher_first ? 5 : 2));
  meeting.feed(first, number(3));
  meeting.driver.run();
  meeting.feed(second, Packet::flush(higher_first ? 2 : 5));  // a number of its own, lower or higher
  meeting.feed(second, number(4));
  CHECK(meeting.heard() == std::vector<std::int64_t>{4});
  REQUIRE(meeting.state().flushed.size() == 2);
  CHECK(meeting.state().flushed[0].first == (higher_first ? 0 : 1));
  CHECK(meeting.state().flushed[1].first == (higher_first ? 1 : 0));
  // And again, on both: neither swallows the other's.
  meeting.feed(meeting.b, Packet::flush(6));
  meeting.feed(meeting.a, Packet::flush(6));
  meeting.feed(meeting.b, number(7));
  meeting.feed(meeting.a, number(8));
  CHECK(meeting.heard() == (std::vector<std::int64_t>{8, 7}));
  CHECK(meeting.state().flushed.size() == 4);
}

TEST_CASE("after random flushes of two streams what was sent since the last of them is heard, and no more", "[unit]") {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    Meeting meeting;
    std::uint64_t epochs[2] = {0, 0};
    std::int64_t next = 0;
    std::vector<std::int64_t> expected;
    for (int i = 0; i < 30; ++i) {
      const std::size_t side = random() % 2;
      const int node = side == 0 ? meeting.a : meeting.b;
      if (random() % 4 == 0) {
        epochs[side] += 1 + random() % 3;
        meeting.feed(node, Packet::flush(epochs[side]));
        expected.clear();
      } else {
        expected.push_back(next);
        meeting.feed(node, number(next++));
      }
      meeting.driver.run();
    }
    INFO("round " << round);
    CHECK(meeting.heard() == expected);
  }
}

TEST_CASE("a flush over two ways of one source raises what comes after by its own number", "[unit]") {
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int left = plan.add("left", stub_spec("left", 1, 1), mapping_stage(identity));
  const int right = plan.add("right", stub_spec("right", 1, 1), mapping_stage(identity));
  const int join = plan.add("join", stub_spec("join", 2, 1), std::make_shared<MergingStage>());
  const int out = plan.read("out");
  plan.link(in, 0, left, 0).link(in, 0, right, 0).link(left, 0, join, 0).link(right, 0, join, 1).link(join, 0, out, 0);
  Driver driver;
  auto graph = driver.start(plan);
  Packet flush = Packet::flush(9), one = number(1);
  driver.scheduler.feed(graph, graph->node(in), flush, driver.now);
  driver.scheduler.feed(graph, graph->node(in), one, driver.now);
  driver.run();
  auto packet = driver.scheduler.read(graph, graph->node(out), driver.now);
  REQUIRE(packet);
  CHECK(packet->kind == PacketKind::flush);
  CHECK(packet->epoch == 9);
  packet = driver.scheduler.read(graph, graph->node(out), driver.now);
  REQUIRE(packet);
  CHECK(packet->epoch == 9);
}

TEST_CASE("a link holds no more bytes than it may, but one packet of any size", "[unit]") {
  PlanBuilder plan;
  const auto tensor = [](std::size_t bytes) {
    auto value = std::make_shared<TensorPayload>();
    value->data.resize(bytes);
    return Packet::data<TensorPayload>(std::move(value));
  };
  const int in = plan.feed("in");
  const int sink = plan.add("sink", stub_spec("sink", 1, 0), std::make_shared<StubStage>([](StubState&, StageIo& io) {
                              while (io.available(0) > 0) io.take(0);
                              return io.ended(0) ? StepStatus::done : StepStatus::need_input;
                            }));
  plan.link(in, 0, sink, 0, 100);
  const_cast<Plan&>(*plan.plan()).links[0].bytes = 1000;
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  const auto feed = [&](std::size_t bytes) {
    Packet packet = tensor(bytes);
    return driver.scheduler.feed(graph, graph->node(in), packet, driver.now);
  };
  CHECK(feed(600) == FeedStatus::accepted);
  CHECK(feed(600) == FeedStatus::accepted);  // it was not full yet
  CHECK(feed(1) == FeedStatus::full);
  driver.run();
  CHECK(graph->links[0].queue.bytes() == 0);
  CHECK(feed(50000) == FeedStatus::accepted);
  CHECK(feed(1) == FeedStatus::full);
  CHECK(graph->links[0].queue.length() == 1);
}

TEST_CASE("a link that would grow without end ends the run by name", "[unit]") {
  // `a` sends to one side for ever; the join waits for the other.
  PlanBuilder plan("pipe");
  const int a = plan.add("a", stub_spec("a", 0, 2), std::make_shared<StubStage>([](StubState&, StageIo& io) {
                           if (io.space(0) == 0) return StepStatus::output_full;
                           io.push(0, number(1));
                           return StepStatus::ready;
                         }));
  const int join =
      plan.add("join", stub_spec("join", 2, 0), joining_stage([](const std::vector<std::int64_t>& n) { return n[0]; }));
  plan.link(a, 0, join, 0, 4).link(a, 1, join, 1, 4);
  Driver driver;
  auto graph = driver.start(plan);
  driver.run();
  REQUIRE(graph->state == RunState::failed);
  CHECK(graph->error->code() == ErrorCode::resource);
  CHECK(graph->error->where() == "pipe/join");
  CHECK_THAT(graph->error->message(), Contains("\"a\"") && Contains("queue"));
  CHECK(graph->links[0].queue.max_length() <= 4 * (exec::LinkQueue::kMostGrowth + 1));
}

TEST_CASE("a batch is filled with the most urgent", "[unit]") {
  std::vector<std::size_t> sizes;
  auto stage = std::make_shared<StubStage>(nullptr);
  stage->batch = [&](std::span<StepItem> items) {
    sizes.push_back(items.size());
    for (StepItem& item : items) item.status = StepStatus::done;
  };
  StageSpec spec = stub_spec("work", 0, 0, StageLoad::heavy);
  spec.max_batch = 3;
  PlanBuilder plan;
  plan.add("work", spec, stage);
  Driver driver;
  std::vector<std::shared_ptr<exec::RunGraph>> background, urgent;
  const auto start = [&](Priority priority) {
    RunOptions options;
    options.priority = priority;
    return driver.start(plan, options);
  };
  for (int i = 0; i < 4; ++i) background.push_back(start(Priority::background));
  for (int i = 0; i < 4; ++i) urgent.push_back(start(Priority::interactive));
  const exec::LaneId lane = driver.scheduler.heavy_lane("cpu");
  auto step = driver.pick(lane);
  REQUIRE(step);
  for (const auto& item : step->items) CHECK(item.graph->options.priority == Priority::interactive);
  driver.finish(*step);
  step = driver.pick(lane);
  REQUIRE(step);
  REQUIRE(step->items.size() == 3);
  CHECK(step->items[0].graph->options.priority == Priority::interactive);
  driver.finish(*step);
  driver.run();
  for (const auto& run : background) CHECK(run->state == RunState::finished);
}

TEST_CASE("an observer that throws takes no other run of its batch with it", "[unit]") {
  auto stage = std::make_shared<StubStage>(nullptr);
  stage->batch = [](std::span<StepItem> items) {
    for (StepItem& item : items) {
      item.io->progress(0.5, "half way");
      item.status = StepStatus::done;
    }
  };
  PlanBuilder plan("pipe");
  StageSpec spec = stub_spec("work", 0, 0);
  spec.max_batch = 8;
  plan.add("work", spec, stage);
  Driver driver;
  RunOptions fragile;
  fragile.on_progress = [](const std::string&, double, std::string_view) { throw std::bad_alloc(); };
  std::vector<std::shared_ptr<exec::RunGraph>> runs;
  for (int i = 0; i < 8; ++i) runs.push_back(driver.start(plan, i % 2 == 0 ? fragile : RunOptions{}));
  driver.run();
  CHECK(driver.batch_sizes == std::vector<std::size_t>{8});
  for (std::size_t i = 0; i < runs.size(); ++i) {
    CHECK(runs[i]->state == (i % 2 == 0 ? RunState::failed : RunState::finished));
    if (i % 2 == 0) CHECK(runs[i]->error->where() == "pipe/work/progress");
  }
}

TEST_CASE("a stage that cannot say its batch key is stepped alone", "[unit]") {
  const bool throws = GENERATE(true, false);
  auto stage = std::make_shared<StubStage>([](StubState&, StageIo&) { return StepStatus::done; });
  stage->key = [throws](const StubState&) -> std::uint64_t {
    if (throws) throw std::runtime_error("no key");
    return 0;
  };
  PlanBuilder plan;
  StageSpec spec = stub_spec("work", 0, 0);
  spec.max_batch = 8;
  plan.add("work", spec, stage);
  Driver driver;
  for (int i = 0; i < 8; ++i) driver.start(plan);
  driver.run();
  CHECK(driver.batch_sizes == (throws ? std::vector<std::size_t>(8, 1) : std::vector<std::size_t>{8}));
  for (const auto& run : driver.graphs) CHECK(run->state == RunState::finished);
}

namespace {

/// A payload of somebody's that fails when it is asked how large it is, which the scheduler does under its lock.
struct Treacherous final : Payload {
  std::string_view type_name() const override { return "treacherous"; }
  std::size_t bytes() const override { throw std::bad_alloc(); }
  void encode(std::vector<std::byte>&) const override {}
};

}  // namespace

TEST_CASE("what is thrown when a step's packets are sent on ends that run of the batch only", "[unit]") {
  auto stage = std::make_shared<StubStage>(nullptr);
  stage->batch = [](std::span<StepItem> items) {
    for (StepItem& item : items) {
      const std::int64_t value = item.io->available(0) > 0 ? number_of(item.io->take(0)) : 0;
      if (value == 13) item.io->push(0, Packet::data(std::make_shared<const Treacherous>()));
      if (value == 1) item.io->push(0, number(1));
      item.status = StepStatus::need_input;
    }
  };
  StageSpec spec = stub_spec("work", 1, 1);
  spec.max_batch = 4;
  PlanBuilder plan("pipe");
  const int in = plan.feed("in"), work = plan.add("work", spec, stage), out = plan.read("out");
  plan.link(in, 0, work, 0).link(work, 0, out, 0);
  Driver driver;
  std::vector<std::shared_ptr<exec::RunGraph>> runs;
  for (int i = 0; i < 3; ++i) runs.push_back(driver.start(plan));
  driver.run();
  driver.batch_sizes.clear();
  for (std::size_t i = 0; i < 3; ++i) {
    Packet packet = number(i == 1 ? 13 : 1);
    driver.scheduler.feed(runs[i], runs[i]->node(in), packet, driver.now);
  }
  driver.run();
  CHECK(driver.batch_sizes == std::vector<std::size_t>{3});
  REQUIRE(runs[1]->state == RunState::failed);
  CHECK(runs[1]->error->where() == "pipe/work");
  CHECK(runs[1]->quiescent());
  for (const std::size_t i : {0, 2}) {
    CHECK(runs[i]->state == RunState::running);
    CHECK(driver.scheduler.read(runs[i], runs[i]->node(out), driver.now));
  }
}

TEST_CASE("what is thrown between steps ends the run it belongs to, and neither the process nor others", "[unit]") {
  const StageLoad load = GENERATE(StageLoad::light, StageLoad::heavy, StageLoad::blocking);
  PlanBuilder bad("bad"), good("good");
  const int a = bad.add("a", stub_spec("a", 0, 1, load), std::make_shared<StubStage>([](StubState&, StageIo& io) {
                          io.push(0, Packet::data(std::make_shared<const Treacherous>()));
                          return StepStatus::ready;
                        }));
  const int sink = bad.add("sink", stub_spec("sink", 1, 0, load), mapping_stage(identity));
  bad.link(a, 0, sink, 0);
  const int count = good.add("count", stub_spec("count", 0, 1, load), counting_stage(200));
  const int out = good.read("out");
  good.link(count, 0, out, 0, 1000);
  exec::Executors executors({});
  auto fails = executors.create(bad.plan(), bad.stages(), {});
  auto works = executors.create(good.plan(), good.stages(), {});
  works->start();
  fails->start();
  try {
    fails->wait();
    FAIL("expected an Error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::resource);
    CHECK_THAT(std::string(error.what()), Contains("bad/a"));
  }
  CHECK_NOTHROW(works->wait());
  auto again = executors.create(good.plan(), good.stages(), {});
  again->start();
  CHECK_NOTHROW(again->wait());
}

namespace {

struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false, reached = false;
  void wait() {
    std::unique_lock lock(mutex);
    reached = true;
    changed.notify_all();
    changed.wait(lock, [this] { return open; });
  }
  void let_go() {
    const std::lock_guard lock(mutex);
    open = true;
    changed.notify_all();
  }
};

/// Its states wait at a gate when they are destroyed, as one does whose session is busy.
struct SlowToGo final : Stage {
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  struct State final : StageState {
    std::shared_ptr<Gate> gate;
    ~State() override { gate->wait(); }
  };
  std::unique_ptr<StageState> open(const OpenContext&) const override {
    auto state = std::make_unique<State>();
    state->gate = gate;
    return state;
  }
  void step(std::span<StepItem> items) const override {
    for (StepItem& item : items) item.status = StepStatus::done;
  }
};

}  // namespace

TEST_CASE("states that are slow to go hold up no light step", "[unit]") {
  exec::Executors executors({});
  std::vector<std::shared_ptr<SlowToGo>> stages;
  std::vector<std::unique_ptr<Run>> going;
  for (int i = 0; i < 4; ++i) {  // more than there are light workers
    stages.push_back(std::make_shared<SlowToGo>());
    PlanBuilder plan;
    plan.add("slow", stub_spec("slow", 0, 0), stages.back());
    going.push_back(executors.create(plan.plan(), plan.stages(), {}));
    going.back()->start();
  }
  {
    std::unique_lock lock(stages[0]->gate->mutex);
    stages[0]->gate->changed.wait(lock, [&] { return stages[0]->gate->reached; });
  }
  PlanBuilder plan;
  const int a = plan.add("a", stub_spec("a", 0, 1), counting_stage(50));
  const int out = plan.read("out");
  plan.link(a, 0, out, 0, 100);
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  for (;;) {  // to the end, while every state that goes still waits; the run itself ends with its state
    const auto packet = run->read("out", std::chrono::seconds(60));
    REQUIRE(packet);
    if (packet->ends_stream()) break;
  }
  for (const auto& stage : stages) stage->gate->let_go();
  run->wait();
  for (const auto& one : going) one->wait();
}

TEST_CASE("numbers of sixteen bits are looked at too, and a picture of nothing but zeros", "[unit]") {
  Registry registry;
  builtin::register_payloads(registry);
  const auto judged = [&](TensorPayload::Type type, std::uint16_t bits) {
    TensorPayload tensor;
    tensor.type = type;
    tensor.shape = {2};
    for (const std::uint16_t value : {std::uint16_t{0x3C00}, bits})
      for (int shift = 0; shift < 16; shift += 8) tensor.data.push_back(static_cast<std::byte>(value >> shift));
    GuardReport report;
    (*registry.find_guard("tensor"))(tensor, report);
    return report.nan;
  };
  CHECK(judged(TensorPayload::Type::f16, 0x7E00));        // NaN
  CHECK(judged(TensorPayload::Type::f16, 0xFC00));        // -infinity
  CHECK_FALSE(judged(TensorPayload::Type::f16, 0x7BFF));  // the largest number
  CHECK(judged(TensorPayload::Type::bf16, 0x7FC0));
  CHECK(judged(TensorPayload::Type::bf16, 0xFF80));
  CHECK_FALSE(judged(TensorPayload::Type::bf16, 0x7F7F));
  GuardReport silence, black;
  black.zero_is_fault = true;
  for (int i = 0; i < 4; ++i) {
    silence.add(0.0);
    black.add(0.0);
  }
  CHECK_FALSE(silence.constant());
  CHECK(black.constant());
}
