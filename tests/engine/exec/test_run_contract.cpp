// What a run hands to its stages and gets back from them: parameters, attachments, strictness, deadlines, how it ended;
// and the application's ends: feeding and reading with time-outs, wrong payloads.
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "engine/exec/scheduler_driver.h"
#include "exec/executors.h"
#include "morph/registry.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;
using std::chrono::milliseconds;

namespace morph::builtin {
void register_payloads(Registry& registry);
}

namespace {

constexpr milliseconds kLong(60000);

/// Opens like StubStage and notes with what.
struct OpeningStage final : Stage {
  std::shared_ptr<StubStage> inner;
  std::shared_ptr<std::vector<OpenContext>> opened = std::make_shared<std::vector<OpenContext>>();
  explicit OpeningStage(std::shared_ptr<StubStage> stage) : inner(std::move(stage)) {}
  std::unique_ptr<StageState> open(const OpenContext& context) const override {
    opened->push_back(context);
    return inner->open(context);
  }
  void step(std::span<StepItem> items) const override { inner->step(items); }
};

StageSpec spec_with_params() {
  StageSpec spec = stub_spec("work", 1, 1);
  ParamSpec model{.name = "model", .type = ParamType::string, .default_value = std::string("small"), .help = ""};
  ParamSpec heat{.name = "temperature",
                 .type = ParamType::number,
                 .default_value = 0.5,
                 .help = "how varied",
                 .min = 0.0,
                 .max = 2.0,
                 .scope = ParamScope::run,
                 .changeable = true};
  ParamSpec most{.name = "most",
                 .type = ParamType::integer,
                 .default_value = std::int64_t{4},
                 .help = "",
                 .scope = ParamScope::run};
  spec.params = {model, heat, most};
  spec.validate = [](const Params& params, std::vector<Diagnostic>& found) {
    if (params.get_double("temperature") > static_cast<double>(params.get_int("most")))
      found.push_back({Diagnostic::Severity::error, ErrorCode::config, "most", "expected at least the temperature"});
  };
  return spec;
}

struct WorkPlan {
  PlanBuilder plan{"pipe"};
  std::shared_ptr<OpeningStage> stage;

  explicit WorkPlan(std::shared_ptr<StubStage> inner, std::size_t queue = 8)
      : stage(std::make_shared<OpeningStage>(std::move(inner))) {
    const int in = plan.feed("in");
    const int work = plan.add("work", spec_with_params(), stage);
    const int out = plan.read("out");
    plan.node(work).params = Params({{"model", std::string("small")}, {"temperature", 0.5}, {"most", std::int64_t{4}}});
    plan.link(in, 0, work, 0, queue).link(work, 0, out, 0, queue);
    const_cast<Plan&>(*plan.plan()).params["heat"] = {{"work", "temperature"}};
  }
  std::unique_ptr<Run> run(exec::Executors& executors, RunOptions options = {}) const {
    return executors.create(plan.plan(), plan.stages(), std::move(options));
  }
};

struct Notes final : Attachment {
  std::string text;
};

std::string refusal(const std::function<void()>& action, ErrorCode code = ErrorCode::config) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(to_string(error.code()) == to_string(code));
    return error.what();
  }
  FAIL("expected an Error");
  return "";
}

}  // namespace

TEST_CASE("a run's parameters, strictness, priority, deadline and attachments reach the state", "[unit]") {
  const WorkPlan work(mapping_stage(identity));
  exec::Executors executors({});
  const auto notes = std::make_shared<Notes>();
  RunOptions options;
  options.seed = 7;
  options.params = {{"heat", std::int64_t{1}}, {"work.most", std::int64_t{9}}};
  options.strict = true;
  options.priority = Priority::realtime;
  options.deadline = milliseconds(250);
  options.attachments = {{"notes", notes}};
  const auto run = work.run(executors, options);
  const auto plain = work.run(executors);
  run->start();
  plain->start();
  REQUIRE(work.stage->opened->size() == 2);
  const OpenContext& context = work.stage->opened->front();
  CHECK(context.params.get_double("temperature") == 1.0);
  CHECK(context.params.get_int("most") == 9);
  CHECK(context.params.get_string("model") == "small");
  CHECK(context.strict);
  CHECK(context.priority == Priority::realtime);
  CHECK(context.deadline == milliseconds(250));
  CHECK(context.seed == exec::stage_seed(7, "work"));
  CHECK(context.where == "pipe/work");
  CHECK(context.attachment<Notes>("notes") == notes);
  CHECK(context.attachment<Notes>("other") == nullptr);
  const OpenContext& other = work.stage->opened->back();
  CHECK(other.params.get_double("temperature") == 0.5);
  CHECK_FALSE(other.strict);
  struct Others final : Attachment {};
  CHECK_THAT(refusal([&] { context.attachment<Others>("notes"); }), Contains("pipe/work/notes"));
}

TEST_CASE("wrong parameters of a run are refused before anything starts, all at once", "[unit]") {
  const WorkPlan work(mapping_stage(identity));
  exec::Executors executors({});
  const auto with = [&](std::map<std::string, Value> params) {
    return refusal([&] {
      RunOptions options;
      options.params = std::move(params);
      work.run(executors, options);
    });
  };
  CHECK_THAT(with({{"het", 1.0}}), Contains("pipe/het") && Contains("\"heat\""));
  CHECK_THAT(with({{"heat", std::string("hot")}}), Contains("pipe/work/temperature") && Contains("number"));
  CHECK_THAT(with({{"heat", 3.0}}), Contains("from 0 to 2"));
  CHECK_THAT(with({{"work.model", std::string("large")}}), Contains("belongs to loading"));
  CHECK_THAT(with({{"work.mots", std::int64_t{3}}}), Contains("\"most\""));
  CHECK_THAT(with({{"heat", 2.0}, {"work.most", std::int64_t{1}}}), Contains("at least the temperature"));
  CHECK_THAT(with({{"heat", 3.0}, {"het", 1.0}}), Contains("from 0 to 2") && Contains("pipe/het"));
  CHECK(work.stage->opened->empty());
}

TEST_CASE("changeable parameters reach the stage between two steps; others are refused", "[unit]") {
  std::atomic<int> n_steps{0};
  const WorkPlan work(std::make_shared<StubStage>([&](StubState&, StageIo& io) {
    ++n_steps;
    while (const auto event = io.next_control())
      if (event->name == kParamsChanged)
        io.push(0, number(static_cast<std::int64_t>(10 * event->values.get_double("temperature"))));
    return io.ended(0) ? StepStatus::done : StepStatus::need_input;
  }));
  exec::Executors executors({});
  const auto run = work.run(executors);
  run->start();
  CHECK_THAT(refusal([&] { run->set_params({{"work.most", std::int64_t{3}}}); }), Contains("cannot change"));
  CHECK_THAT(refusal([&] { run->set_params({{"heat", 1.0}, {"heet", 1.0}}); }), Contains("pipe/heet"));
  run->set_params({{"heat", 1.5}});
  const auto packet = run->read("out", kLong);
  REQUIRE(packet);
  CHECK(number_of(*packet) == 15);  // the refused ones changed nothing
  run->end_input("in");
  run->wait();
}

TEST_CASE("feeding and reading give up when their time is over", "[unit]") {
  const WorkPlan work(std::make_shared<StubStage>(
                          [](StubState&, StageIo& io) { return io.ended(0) ? StepStatus::done : StepStatus::waiting; }),
                      1);
  exec::Executors executors({});
  const auto run = work.run(executors);
  run->start();
  Packet packet = number(1);
  CHECK(run->feed_for("in", packet, milliseconds(0)) == FeedStatus::accepted);
  packet = number(2);
  CHECK(run->feed_for("in", packet, milliseconds(0)) == FeedStatus::full);
  CHECK(run->feed_for("in", packet, milliseconds(5)) == FeedStatus::full);
  CHECK(number_of(packet) == 2);  // still the caller's
  CHECK_FALSE(run->read("out", milliseconds(0)));
  CHECK_FALSE(run->read_any(milliseconds(1)));
  std::thread feeder([&] { CHECK(run->feed_for("in", packet, kLong) == FeedStatus::closed); });
  run->cancel();
  feeder.join();
}

TEST_CASE("whichever output has something is read in turn, and each end is told once", "[unit]") {
  PlanBuilder plan;
  const int a = plan.add("a", stub_spec("a", 0, 1), counting_stage(20));
  const int b = plan.add("b", stub_spec("b", 0, 1), counting_stage(3, 100));
  const int left = plan.read("left"), right = plan.read("right");
  plan.link(a, 0, left, 0, 64).link(b, 0, right, 0, 64);
  exec::Executors executors({});
  const auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->wait();
  std::map<std::string, int> packets, ends;
  int right_done_after = 0, n = 0;
  while (const auto next = run->read_any(kLong)) {
    ++n;
    if (next->packet.ends_stream()) {
      ++ends[next->output];
      if (next->output == "right") right_done_after = n;
    } else {
      ++packets[next->output];
    }
  }
  CHECK(packets == std::map<std::string, int>{{"left", 20}, {"right", 3}});
  CHECK(ends == std::map<std::string, int>{{"left", 1}, {"right", 1}});
  CHECK(right_done_after <= 8);  // in turn: not behind all of the other's
}

TEST_CASE("a wrong payload is the feeder's error and harms nothing", "[unit]") {
  Registry registry;
  builtin::register_payloads(registry);
  exec::ExecutorsOptions options;
  options.registry = &registry;
  exec::Executors executors(options);
  const WorkPlan work(mapping_stage(identity));
  const auto run = work.run(executors);
  run->start();
  Packet tensor = Packet::data(std::make_shared<const TensorPayload>());
  CHECK_THAT(refusal([&] { run->feed("in", tensor); }, ErrorCode::format),
             Contains("pipe/in") && Contains("expected event, found tensor"));
  CHECK_THAT(refusal([&] { run->feed("in", Packet{}); }, ErrorCode::format), Contains("found nothing"));
  CHECK(run->feed("in", number(4)));
  run->end_input("in");
  CHECK_NOTHROW(run->wait());
  CHECK(number_of(*run->read("out", kLong)) == 4);
}

TEST_CASE("a run says how it ended and what is missing", "[unit]") {
  const WorkPlan work(std::make_shared<StubStage>([](StubState&, StageIo& io) {
    while (io.available(0) > 0) {
      const std::int64_t value = number_of(io.take(0));
      if (value < 0) io.lost(Loss::skipped, "number");
      if (value > 100) {
        io.lost(Loss::cut, "number");
        io.finished(FinishReason::length);
      }
    }
    return io.ended(0) ? StepStatus::done : StepStatus::need_input;
  }));
  exec::Executors executors({});
  const auto run = [&](std::vector<std::int64_t> numbers) {
    const auto one = work.run(executors);
    one->start();
    for (const std::int64_t value : numbers) one->feed("in", number(value));
    one->end_input("in");
    one->wait();
    return one->result();
  };
  const RunResult whole = run({1, 2});
  CHECK(whole.state == RunState::finished);
  CHECK(whole.whole());
  CHECK(whole.finish == FinishReason::none);
  const RunResult partly = run({-1, 3, -2, 200});
  CHECK_FALSE(partly.whole());
  CHECK(partly.finish == FinishReason::length);
  REQUIRE(partly.losses.size() == 2);
  CHECK(partly.losses[0].stage == "work");
  CHECK(to_string(partly.losses[0].loss) == "skipped");
  CHECK(partly.losses[0].what == "number");
  CHECK(partly.losses[0].count == 2);
  CHECK(to_string(partly.losses[1].loss) == "cut");
}

TEST_CASE("a step is asked to yield while someone more urgent waits for its worker, and only then", "[unit]") {
  std::vector<bool> answers;
  std::function<void()> meanwhile = [] {};
  PlanBuilder plan;
  StageSpec spec = stub_spec("work", 0, 0, StageLoad::heavy);
  plan.add("work", spec, std::make_shared<StubStage>([&](StubState& state, StageIo& io) {
             answers.push_back(io.should_yield());
             meanwhile();
             answers.push_back(io.should_yield());
             return ++state.counter < 3 ? StepStatus::ready : StepStatus::done;
           }));
  Driver driver;
  const auto with = [](Priority priority) {
    RunOptions options;
    options.priority = priority;
    return options;
  };
  driver.start(plan, with(Priority::background));
  const exec::LaneId lane = driver.scheduler.heavy_lane("cpu");
  meanwhile = [&] { driver.start(plan, with(Priority::background)); };
  REQUIRE(driver.step(lane));
  CHECK(answers == std::vector<bool>{false, false});
  answers.clear();
  meanwhile = [&] { driver.start(plan, with(Priority::interactive)); };
  REQUIRE(driver.step(lane));
  CHECK(answers == std::vector<bool>{false, true});
  answers.clear();
  meanwhile = [] {};
  REQUIRE(driver.step(lane));  // the interactive one, which nobody outranks
  CHECK(answers == std::vector<bool>{false, false});
}

TEST_CASE("within a priority the earlier deadline goes first", "[unit]") {
  PlanBuilder plan;
  plan.add("work", stub_spec("work", 0, 0),
           std::make_shared<StubStage>([](StubState&, StageIo&) { return StepStatus::done; }));
  Driver driver;
  const auto with = [](milliseconds deadline, Priority priority = Priority::normal) {
    RunOptions options;
    options.deadline = deadline;
    options.priority = priority;
    return options;
  };
  auto none = driver.start(plan);
  auto late = driver.start(plan, with(milliseconds(900)));
  auto soon = driver.start(plan, with(milliseconds(100)));
  auto urgent = driver.start(plan, with(milliseconds(0), Priority::realtime));
  std::vector<exec::RunGraph*> order;
  while (auto step = driver.pick()) {
    order.push_back(step->items[0].graph.get());
    driver.finish(*step);
  }
  CHECK(order == std::vector<exec::RunGraph*>{urgent.get(), soon.get(), late.get(), none.get()});
}
