// Runs on real threads: the executor, Run's methods, ends, cancellation, isolation. Nothing here measures time; waits
// have limits only so that a defect fails instead of hanging.
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <system_error>
#include <thread>

#include "exec/executors.h"
#include "testing/plan_builder.h"
#include "testing/stub_stages.h"

using namespace morph;
using namespace morph::testing;

namespace {

constexpr auto kLong = std::chrono::seconds(60);

std::int64_t identity(std::int64_t value) { return value; }

std::vector<std::int64_t> read_all(Run& run, const std::string& output, PacketKind& last) {
  std::vector<std::int64_t> numbers;
  for (;;) {
    auto packet = run.read(output, kLong);
    REQUIRE(packet);
    if (packet->ends_stream()) {
      last = packet->kind;
      return numbers;
    }
    if (packet->payload) numbers.push_back(number_of(*packet));
  }
}

}  // namespace

TEST_CASE("feed, read, end, wait over light, heavy and blocking stages", "[unit]") {
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int a = plan.add("light", stub_spec("light", 1, 1), mapping_stage([](std::int64_t x) { return x + 1; }));
  const int b = plan.add("heavy", stub_spec("heavy", 1, 1, StageLoad::heavy),
                         mapping_stage([](std::int64_t x) { return x * 2; }));
  const int c = plan.add("blocking", stub_spec("blocking", 1, 1, StageLoad::blocking), mapping_stage(identity));
  const int out = plan.read("out");
  plan.link(in, 0, a, 0, 2).link(a, 0, b, 0, 2).link(b, 0, c, 0, 2).link(c, 0, out, 0, 2);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  CHECK(run->state() == RunState::idle);
  CHECK_THROWS_AS(run->wait(), Error);
  run->start();
  CHECK_THROWS_AS(run->start(), Error);
  std::thread feeder([&] {
    for (int i = 0; i < 200; ++i) run->feed("in", number(i));
    run->end_input("in");
  });
  PacketKind last{};
  const auto numbers = read_all(*run, "out", last);
  feeder.join();
  run->wait();
  CHECK(last == PacketKind::end);
  REQUIRE(numbers.size() == 200);
  for (std::size_t i = 0; i < numbers.size(); ++i) CHECK(numbers[i] == static_cast<std::int64_t>(2 * (i + 1)));
  CHECK(run->state() == RunState::finished);
  CHECK(run->progress() == 1.0);
  const auto metrics = run->metrics();
  CHECK(metrics.at("heavy").packets_in == 200);
  CHECK(metrics.at("out").packets_in == 200);
  CHECK(run->read("out", std::chrono::milliseconds(0))->kind == PacketKind::end);
  CHECK_FALSE(run->feed("in", number(1)));
  CHECK_THROWS_AS(run->feed("nothing", number(1)), Error);
  CHECK_THROWS_AS(run->read("in", std::chrono::milliseconds(0)), Error);
}

TEST_CASE("heavy steps of one device never run beside each other; other devices' do", "[unit]") {
  auto running = std::make_shared<std::atomic<int>>(0);
  auto most = std::make_shared<std::atomic<int>>(0);
  auto stage = std::make_shared<StubStage>([running, most](StubState& state, StageIo&) {
    const int now = ++*running;
    if (now > *most) *most = now;
    std::this_thread::yield();
    --*running;
    return ++state.counter < 100 ? StepStatus::ready : StepStatus::done;
  });
  exec::Executors executors({});
  std::vector<std::unique_ptr<Run>> runs;
  for (int i = 0; i < 4; ++i) {
    PlanBuilder plan;
    plan.add("heavy", stub_spec("heavy", 0, 0, StageLoad::heavy), stage);
    runs.push_back(executors.create(plan.plan(), plan.stages(), {}));
    runs.back()->start();
  }
  for (auto& run : runs) run->wait();
  CHECK(*most == 1);

  // Two devices: each step waits until the other's has begun.
  auto met = std::make_shared<std::atomic<int>>(0);
  auto meet = std::make_shared<StubStage>([met](StubState&, StageIo& io) {
    ++*met;
    while (*met < 2 && !io.cancelled()) std::this_thread::yield();
    return StepStatus::done;
  });
  PlanBuilder plan;
  plan.add("first", stub_spec("first", 0, 0, StageLoad::heavy), meet);
  const int second = plan.add("second", stub_spec("second", 0, 0, StageLoad::heavy), meet);
  plan.node(second).device = "npu";
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->wait();
  CHECK(*met == 2);
}

TEST_CASE("an error names the pipeline and stage and leaves other runs alone", "[unit]") {
  PlanBuilder plan("pipe");
  const int in = plan.feed("in");
  const int a = plan.add("fragile", stub_spec("fragile", 1, 1), mapping_stage([](std::int64_t value) {
                           if (value == 3) throw Error(ErrorCode::format, "file.wav", "bad chunk");
                           return value;
                         }));
  const int out = plan.read("out");
  plan.link(in, 0, a, 0).link(a, 0, out, 0);
  exec::Executors executors({});
  auto good = executors.create(plan.plan(), plan.stages(), {});
  auto bad = executors.create(plan.plan(), plan.stages(), {});
  good->start();
  bad->start();
  for (int i = 0; i < 3; ++i) {
    CHECK(good->feed("in", number(i)));
    CHECK(bad->feed("in", number(i)));
  }
  bad->feed("in", number(3));
  PacketKind last{};
  CHECK(read_all(*bad, "out", last) == std::vector<std::int64_t>{0, 1, 2});
  CHECK(last == PacketKind::error);
  try {
    bad->wait();
    FAIL("wait() must rethrow");
  } catch (const Error& error) {
    CHECK(error.where() == "pipe/fragile");
    CHECK(error.message() == "file.wav: bad chunk");
    CHECK(error.code() == ErrorCode::format);
  }
  CHECK(bad->state() == RunState::failed);
  CHECK_FALSE(bad->feed("in", number(4)));
  good->end_input("in");
  CHECK(read_all(*good, "out", last) == std::vector<std::int64_t>{0, 1, 2});
  CHECK(last == PacketKind::end);
  good->wait();
}

TEST_CASE("cancel takes effect within one step, frees blocked feeders and readers, and destroys states", "[unit]") {
  auto alive = std::make_shared<std::atomic<int>>(0);
  auto entered = std::make_shared<std::promise<void>>();
  auto steps = std::make_shared<std::atomic<int>>(0);
  auto stage = std::make_shared<StubStage>([entered, steps](StubState&, StageIo& io) {
    if (steps->fetch_add(1) == 0) entered->set_value();
    while (!io.cancelled()) std::this_thread::yield();
    return StepStatus::ready;
  });
  stage->alive = alive;
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int a = plan.add("long", stub_spec("long", 1, 1, StageLoad::heavy), stage);
  const int out = plan.read("out");
  plan.link(in, 0, a, 0, 1).link(a, 0, out, 0, 1);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  entered->get_future().wait();
  CHECK(alive->load() == 1);
  auto feeder = std::async(std::launch::async, [&] {
    while (run->feed("in", number(1))) {
    }
    return true;
  });
  auto reader = std::async(std::launch::async, [&] { return run->read("out", kLong)->kind; });
  run->cancel();
  CHECK(feeder.get());
  CHECK(reader.get() == PacketKind::cancel);
  try {
    run->wait();
    FAIL("wait() must throw");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::cancelled);
  }
  CHECK(run->state() == RunState::cancelled);
  CHECK(steps->load() == 1);
  CHECK(alive->load() == 0);
}

TEST_CASE("destroying a run midway cancels and joins", "[unit]") {
  auto alive = std::make_shared<std::atomic<int>>(0);
  exec::Executors executors({});
  for (int i = 0; i < 20; ++i) {
    PlanBuilder plan;
    auto source = counting_stage(1'000'000'000);
    auto middle = mapping_stage(identity);
    auto sink = collecting_stage(std::make_shared<std::vector<std::int64_t>>());
    for (auto& stage : {source, middle, sink}) stage->alive = alive;
    const StageLoad loads[] = {StageLoad::light, StageLoad::heavy, StageLoad::blocking};
    const int a = plan.add("source", stub_spec("source", 0, 1, loads[i % 3]), source);
    const int b = plan.add("middle", stub_spec("middle", 1, 1, loads[(i + 1) % 3]), middle);
    const int c = plan.add("sink", stub_spec("sink", 1, 0, loads[(i + 2) % 3]), sink);
    plan.link(a, 0, b, 0).link(b, 0, c, 0);
    auto run = executors.create(plan.plan(), plan.stages(), {});
    if (i % 5 != 4) run->start();
    if (i % 2 == 0) std::this_thread::yield();
    run.reset();
    CHECK(alive->load() == 0);
  }
}

TEST_CASE("wakers work from other threads and after run and executors are gone", "[unit]") {
  std::function<void()> waker;
  std::atomic<bool> stop{false};
  std::thread pest;
  {
    exec::Executors executors({});
    std::promise<std::function<void()>> given;
    auto stage = std::make_shared<StubStage>([&given](StubState& state, StageIo& io) {
      if (state.counter == 0) given.set_value(io.waker());
      return ++state.counter < 50 ? StepStatus::waiting : StepStatus::done;
    });
    PlanBuilder plan;
    plan.add("wait", stub_spec("wait", 0, 0), stage);
    auto run = executors.create(plan.plan(), plan.stages(), {});
    run->start();
    waker = given.get_future().get();
    pest = std::thread([&] {
      while (!stop) waker();
    });
    run->wait();
  }
  for (int i = 0; i < 100; ++i) waker();
  stop = true;
  pest.join();
  waker();
  SUCCEED();
}

TEST_CASE("pause returns when nothing runs; resume goes on", "[unit]") {
  auto inside = std::make_shared<std::atomic<int>>(0);
  auto stage = std::make_shared<StubStage>([inside](StubState& state, StageIo& io) {
    ++*inside;
    io.push(0, number(state.counter++));
    --*inside;
    return state.counter < 300 ? StepStatus::ready : StepStatus::done;
  });
  PlanBuilder plan;
  const int a = plan.add("source", stub_spec("source", 0, 1), stage);
  const int out = plan.read("out");
  plan.link(a, 0, out, 0, 4);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  std::vector<std::int64_t> numbers;
  PacketKind last{};
  for (int i = 0; i < 10; ++i) {
    numbers.push_back(number_of(*run->read("out", kLong)));
    run->pause();
    CHECK(run->state() == RunState::paused);
    CHECK(inside->load() == 0);
    run->resume();
  }
  const auto rest = read_all(*run, "out", last);
  numbers.insert(numbers.end(), rest.begin(), rest.end());
  REQUIRE(numbers.size() == 300);
  for (std::size_t i = 0; i < numbers.size(); ++i) CHECK(numbers[i] == static_cast<std::int64_t>(i));
}

TEST_CASE("barge-in: a flush fed while everything is full drops the old turn everywhere", "[unit]") {
  PlanBuilder plan;
  const int in = plan.feed("in");
  int last_node = in;
  for (int i = 0; i < 4; ++i) {
    const int next = plan.add("pass" + std::to_string(i), stub_spec("pass", 1, 1), mapping_stage(identity));
    plan.link(last_node, 0, next, 0, 2);
    last_node = next;
  }
  const int out = plan.read("out");
  plan.link(last_node, 0, out, 0, 2);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  for (int i = 0; i < 8; ++i) REQUIRE(run->feed("in", number(i)));
  REQUIRE(run->feed("in", Packet::flush(1)));
  for (int i = 100; i < 104; ++i) REQUIRE(run->feed("in", number(i)));
  run->end_input("in");
  std::vector<std::int64_t> after;
  bool flushed = false;
  for (;;) {
    auto packet = run->read("out", kLong);
    REQUIRE(packet);
    if (packet->ends_stream()) break;
    if (packet->kind == PacketKind::flush) {
      flushed = true;
      continue;
    }
    CHECK(flushed);
    CHECK(packet->epoch == 1);
    after.push_back(number_of(*packet));
  }
  CHECK(after == std::vector<std::int64_t>{100, 101, 102, 103});
  run->wait();
}

TEST_CASE("a reader's control event reaches the source", "[unit]") {
  auto source = std::make_shared<StubStage>([](StubState& state, StageIo& io) {
    if (auto event = io.next_control()) {
      io.push(0, number(event->values.get_int("to")));
      return StepStatus::done;
    }
    if (state.counter == 0) io.push(0, number(state.counter++));
    return StepStatus::waiting;
  });
  PlanBuilder plan;
  const int a = plan.add("source", stub_spec("source", 0, 1), source);
  const int out = plan.read("out");
  plan.link(a, 0, out, 0);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  CHECK(number_of(*run->read("out", kLong)) == 0);
  CHECK_FALSE(run->read("out", std::chrono::milliseconds(1)));
  ControlEvent event;
  event.name = "played_to";
  event.values.set("to", std::int64_t{42});
  run->send_control("out", event);
  CHECK(number_of(*run->read("out", kLong)) == 42);
  run->wait();
}

TEST_CASE("a stage that cannot open its state fails the run at start", "[unit]") {
  class Closed final : public Stage {
   public:
    std::unique_ptr<StageState> open(const OpenContext&) const override { throw std::bad_alloc(); }
    void step(std::span<StepItem>) const override {}
  };
  PlanBuilder plan("pipe");
  plan.add("closed", stub_spec("closed", 0, 0), std::make_shared<Closed>());
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  try {
    run->start();
    FAIL("start() must throw");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::resource);
    CHECK(error.where() == "pipe/closed");
  }
  CHECK(run->state() == RunState::failed);
  CHECK_THROWS_AS(run->wait(), Error);
}

TEST_CASE("a run cancelled while its states open never steps, and they all go", "[unit]") {
  // Relaxed atomics order nothing, so that the thread sanitizer sees whatever else the two threads share.
  struct Shared {
    std::atomic<bool> opening{false}, go_on{false};
  };
  class Slow final : public Stage {
   public:
    explicit Slow(std::shared_ptr<Shared> shared, std::shared_ptr<std::atomic<int>> alive)
        : shared_(std::move(shared)), alive_(std::move(alive)) {}
    std::unique_ptr<StageState> open(const OpenContext&) const override {
      shared_->opening.store(true, std::memory_order_relaxed);
      while (!shared_->go_on.load(std::memory_order_relaxed)) std::this_thread::yield();
      auto state = std::make_unique<StubState>();
      ++*alive_;
      state->alive = alive_;
      return state;
    }
    void step(std::span<StepItem> items) const override { FAIL("stepped " << items.size()); }

   private:
    std::shared_ptr<Shared> shared_;
    std::shared_ptr<std::atomic<int>> alive_;
  };
  auto shared = std::make_shared<Shared>();
  auto alive = std::make_shared<std::atomic<int>>(0);
  PlanBuilder plan;
  const int a = plan.add("first", stub_spec("first", 0, 1), std::make_shared<Slow>(shared, alive));
  const int b = plan.add("second", stub_spec("second", 1, 0), std::make_shared<Slow>(shared, alive));
  plan.link(a, 0, b, 0);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  std::thread starter([&] { run->start(); });
  while (!shared->opening.load(std::memory_order_relaxed)) std::this_thread::yield();
  run->cancel();
  CHECK(run->state() == RunState::cancelled);
  shared->go_on.store(true, std::memory_order_relaxed);
  starter.join();
  CHECK(alive->load() == 0);
  CHECK_THROWS_AS(run->wait(), Error);
}

TEST_CASE("a read with a time long past or far off is no accident", "[unit]") {
  PlanBuilder plan;
  const int in = plan.feed("in");
  const int out = plan.read("out");
  plan.link(in, 0, out, 0);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  CHECK_FALSE(run->read("out", std::chrono::milliseconds::min()));
  run->end_input("in");
  CHECK(run->read("out", std::chrono::milliseconds::max())->kind == PacketKind::end);
}

TEST_CASE("threads that cannot be made are a named error, and those that were are joined", "[unit]") {
  std::atomic<int> n_left{0}, n_alive{0};
  exec::ExecutorsOptions options;
  options.make_thread = [&](std::function<void()> body) {
    if (n_left-- <= 0) throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
    ++n_alive;
    return std::thread([&n_alive, body = std::move(body)] {
      body();
      --n_alive;
    });
  };
  for (int n = 0; n < 3; ++n) {  // there are two light workers, and one that destroys states
    n_left = n;
    try {
      exec::Executors executors(options);
      FAIL("the constructor must throw");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::resource);
      CHECK(std::string(error.what()).find("no further thread") != std::string::npos);
    }
    CHECK(n_alive == 0);
  }
  n_left = 3;
  exec::Executors executors(options);
  auto alive = std::make_shared<std::atomic<int>>(0);
  auto stage = mapping_stage(identity);
  stage->alive = alive;
  PlanBuilder plan("pipe");
  const int in = plan.feed("in");
  const int a = plan.add("first", stub_spec("first", 1, 1, StageLoad::blocking), stage);
  const int b = plan.add("heavy", stub_spec("heavy", 1, 1, StageLoad::heavy), stage);
  const int c = plan.add("last", stub_spec("last", 1, 1, StageLoad::blocking), stage);
  const int out = plan.read("out");
  plan.link(in, 0, a, 0).link(a, 0, b, 0).link(b, 0, c, 0).link(c, 0, out, 0);
  const char* const missing[] = {"pipe/first", "pipe/heavy", "pipe/last"};
  for (int n = 0; n < 3; ++n) {
    n_left = n;
    auto run = executors.create(plan.plan(), plan.stages(), {});
    try {
      run->start();
      FAIL("start() must throw");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::resource);
      CHECK(error.where() == missing[n]);
    }
    CHECK(run->state() == RunState::failed);
    CHECK_FALSE(run->feed("in", number(1)));
    CHECK_THROWS_AS(run->wait(), Error);
    run.reset();
    CHECK(alive->load() == 0);
    CHECK(n_alive == (n < 2 ? 3 : 4));  // the device's worker stays
  }
  n_left = 2;  // once threads can be made again, runs go well
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->feed("in", number(7));
  run->end_input("in");
  PacketKind last{};
  CHECK(read_all(*run, "out", last) == std::vector<std::int64_t>{7});
  run->wait();
}

TEST_CASE("what on_progress throws ends the run by name; the stage does not see it", "[unit]") {
  auto seen = std::make_shared<std::atomic<int>>(0);
  auto calls = std::make_shared<std::atomic<int>>(0);
  const auto stage_that = [seen](bool throws) {
    return std::make_shared<StubStage>([seen, throws](StubState&, StageIo& io) -> StepStatus {
      try {
        io.progress(0.5, "half way");
        io.progress(0.6, "further");
      } catch (...) {
        ++*seen;
      }
      if (throws) throw Error(ErrorCode::format, "", "because of it");
      return StepStatus::done;
    });
  };
  exec::Executors executors({});
  RunOptions options;
  options.on_progress = [calls](const std::string&, double, std::string_view) {
    ++*calls;
    throw std::runtime_error("the window is closed");
  };
  for (const bool throws : {false, true}) {
    *calls = 0;
    PlanBuilder plan("pipe");
    plan.add("work", stub_spec("work", 0, 0), stage_that(throws));
    auto run = executors.create(plan.plan(), plan.stages(), options);
    run->start();
    try {
      run->wait();
      FAIL("wait() must throw");
    } catch (const Error& error) {
      CHECK(error.where() == "pipe/work/progress");
      CHECK(error.message().find("the window is closed") != std::string::npos);
    }
    CHECK(calls->load() == 1);
    CHECK(seen->load() == 0);
  }
}

TEST_CASE("stages that do not fit the plan are refused", "[unit]") {
  PlanBuilder plan;
  plan.add("a", stub_spec("a", 0, 1), counting_stage(1));
  exec::Executors executors({});
  CHECK_THROWS_AS(executors.create(plan.plan(), {}, {}), Error);
  CHECK_THROWS_AS(executors.create(plan.plan(), {nullptr}, {}), Error);
}

TEST_CASE("progress is the least advanced stage's and is reported by name", "[unit]") {
  auto at = [](double fraction) {
    return std::make_shared<StubStage>([fraction](StubState& state, StageIo& io) {
      io.progress(fraction, "half way");
      return ++state.counter < 2 ? StepStatus::waiting : StepStatus::done;
    });
  };
  PlanBuilder plan;
  plan.add("fast", stub_spec("fast", 0, 0), at(0.9));
  plan.add("slow", stub_spec("slow", 0, 0), at(0.25));
  exec::Executors executors({});
  std::mutex mutex;
  std::map<std::string, double> reported;
  std::promise<void> both;
  RunOptions options;
  options.on_progress = [&](const std::string& stage, double fraction, std::string_view) {
    const std::lock_guard lock(mutex);
    reported[stage] = fraction;
    if (reported.size() == 2) both.set_value();
  };
  auto run = executors.create(plan.plan(), plan.stages(), options);
  run->start();
  both.get_future().wait();
  CHECK(run->progress() == 0.25);
  CHECK(reported == std::map<std::string, double>{{"fast", 0.9}, {"slow", 0.25}});
}
