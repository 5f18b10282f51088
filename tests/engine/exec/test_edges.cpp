// What is watched at the edges of stages: guards, traces, metrics; and checkpoints of runs.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "exec/executors.h"
#include "exec/trace.h"
#include "morph/registry.h"
#include "testing/plan_builder.h"
#include "testing/stub_stages.h"

namespace morph::builtin {
void register_payloads(Registry& registry);
}

using namespace morph;
using namespace morph::testing;

namespace {

constexpr auto kLong = std::chrono::seconds(60);

/// Floats with a range of one, as audio has.
class Samples final : public Payload {
 public:
  std::vector<float> values;
  explicit Samples(std::vector<float> v) : values(std::move(v)) {}
  std::string_view type_name() const override { return "samples"; }
  std::size_t bytes() const override { return values.size() * 4; }
  void encode(std::vector<std::byte>&) const override {}
};

void fill(Registry& registry) {
  builtin::register_payloads(registry);
  registry.add_guard("samples", [](const Payload& payload, GuardReport& report) {
    for (const float value : dynamic_cast<const Samples&>(payload).values) report.add(value, 1.0);
  });
}

/// Runs a stage that sends these packets; returns what wait() threw ("" for nothing) and the stage's metrics.
std::pair<std::string, StageMetrics> guarded(std::vector<std::vector<float>> chunks) {
  Registry registry;
  fill(registry);
  auto stage = std::make_shared<StubStage>([chunks](StubState&, StageIo& io) {
    for (const auto& chunk : chunks) io.push(0, Packet::data(std::make_shared<const Samples>(chunk)));
    return StepStatus::done;
  });
  PlanBuilder plan("pipe");
  StageSpec spec = stub_spec("voice", 0, 1);
  spec.outputs[0].name = "audio";
  const int a = plan.add("voice", spec, stage);
  const int out = plan.read("out");
  plan.link(a, 0, out, 0);
  exec::ExecutorsOptions options;
  options.registry = &registry;
  exec::Executors executors(options);
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  std::string thrown;
  try {
    run->wait();
  } catch (const Error& error) {
    thrown = error.what();
  }
  return {thrown, run->metrics().at("voice")};
}

std::filesystem::path temporary(const std::string& name) {
  return std::filesystem::temp_directory_path() / ("morph-" + std::to_string(::getpid()) + "-" + name);
}

std::string slurp(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("a NaN ends the run and is named by stage and port", "[unit]") {
  const auto [error, metrics] = guarded({{0.1f, 0.2f}, {0.3f, NAN}});
  CHECK(error.find("pipe/voice/audio") == 0);
  CHECK(error.find("packet 1") != std::string::npos);
  CHECK(guarded({{INFINITY, 0.2f}}).first.find("pipe/voice/audio") == 0);
}

TEST_CASE("constant, clipped and empty streams are warned about; silence is not", "[unit]") {
  const std::vector<float> silence(200, 0.0f), stuck(200, 0.5f);
  std::vector<float> wave(200), loud(200);
  for (std::size_t i = 0; i < wave.size(); ++i) {
    wave[i] = 0.9f * std::sin(static_cast<float>(i));
    loud[i] = std::clamp(3.0f * wave[i], -1.0f, 1.0f);
  }
  CHECK(guarded({silence, silence}).second.warnings == 0);
  CHECK(guarded({silence, wave, silence}).second.warnings == 0);
  CHECK(guarded({silence, stuck}).second.warnings == 0);  // a stream is judged as a whole
  const auto constant = guarded({stuck, stuck}).second;
  REQUIRE(constant.warnings == 1);
  CHECK(constant.notes.at(0).find("port audio: all 400 values are 0.5") == 0);
  const auto clipped = guarded({loud}).second;
  REQUIRE(clipped.warnings == 1);
  CHECK(clipped.notes.at(0).find("clipped") != std::string::npos);
  const auto empty = guarded({}).second;
  REQUIRE(empty.warnings == 1);
  CHECK(empty.notes.at(0).find("without a single packet") != std::string::npos);
}

TEST_CASE("metrics of a stage add up", "[unit]") {
  auto stage = std::make_shared<StubStage>([](StubState& state, StageIo& io) {
    io.metric("tokens", 2);
    io.metric("tokens", 1);
    return ++state.counter < 4 ? StepStatus::ready : StepStatus::done;
  });
  PlanBuilder plan;
  plan.add("a", stub_spec("a", 0, 0), stage);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->wait();
  const StageMetrics metrics = run->metrics().at("a");
  CHECK(metrics.steps == 4);
  CHECK(metrics.values.at("tokens") == 12.0);
}

TEST_CASE("a run's trace is trace-event JSON with slices, counters, flushes and names", "[unit]") {
  const auto file = temporary("trace.json");
  PlanBuilder plan("pipe \"quoted\"");
  const int in = plan.feed("in");
  const int a = plan.add("pass", stub_spec("pass", 1, 1), mapping_stage([](std::int64_t value) { return value; }));
  const int out = plan.read("out");
  plan.link(in, 0, a, 0).link(a, 0, out, 0);
  exec::Executors executors({});
  RunOptions options;
  options.trace = file;
  auto run = executors.create(plan.plan(), plan.stages(), options);
  run->start();
  run->feed("in", number(1));
  run->feed("in", Packet::flush(1));
  run->end_input("in");
  while (!run->read("out", kLong)->ends_stream()) {
  }
  run->wait();
  const auto trace = nlohmann::json::parse(slurp(file));
  std::filesystem::remove(file);
  std::multiset<std::string> phases;
  std::set<std::string> slices;
  for (const auto& event : trace.at("traceEvents")) {
    phases.insert(event.at("ph").get<std::string>());
    CHECK(event.contains("pid"));
    if (event.at("ph") == "X") {
      slices.insert(event.at("name").get<std::string>());
      CHECK(event.at("args").at("batch") == 1);
      CHECK(event.at("dur").get<double>() >= 0.0);
    }
    if (event.at("name") == "process_name") CHECK(event.at("args").at("name") == "pipe \"quoted\"");
  }
  CHECK(slices == std::set<std::string>{"pass"});
  CHECK(phases.count("C") > 0);
  CHECK(phases.count("i") == 1);
  CHECK(phases.count("M") >= 2);
}

TEST_CASE("a trace keeps no more than its limit and says what it lost", "[unit]") {
  exec::TraceLog log("p", 2);
  for (int i = 0; i < 5; ++i) log.counter("c", StreamTime(i), 1);
  CHECK(log.size() == 2);
  CHECK(nlohmann::json::parse(log.to_json()).at("otherData").at("lost_events") == 3);
}

TEST_CASE("a trace that cannot be written is known before the run starts, and a trace is whole or not there",
          "[unit]") {
  PlanBuilder plan("pipe");
  plan.add("a", stub_spec("a", 0, 0), std::make_shared<StubStage>([](StubState&, StageIo&) -> StepStatus {
             throw Error(ErrorCode::format, "", "bad");
           }));
  exec::Executors executors({});
  RunOptions options;
  options.trace = temporary("no-such-folder") / "trace.json";
  {
    auto run = executors.create(plan.plan(), plan.stages(), options);
    try {
      run->start();
      FAIL("start() must throw");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::config);
      CHECK(std::string(error.what()).find(options.trace.string()) != std::string::npos);
    }
    CHECK(run->state() == RunState::failed);
  }
  // The folder goes while the run is under way: what the stage threw still matters more.
  std::filesystem::create_directories(options.trace.parent_path());
  auto run = executors.create(plan.plan(), plan.stages(), options);
  run->start();
  CHECK_FALSE(std::filesystem::exists(options.trace));
  std::filesystem::remove_all(options.trace.parent_path());
  try {
    run->wait();
    FAIL("wait() must throw");
  } catch (const Error& error) {
    CHECK(error.where() == "pipe/a");
    CHECK(error.code() == ErrorCode::format);
  }
}

namespace {

/// count -> add running sum (state) -> read, and what is fed into "in" last; queues hold packets when paused.
PlanBuilder summing_plan(bool checkpointable = true) {
  PlanBuilder plan("pipe");
  const int in = plan.feed("in");
  const int a = plan.add("count", stub_spec("count", 0, 1), counting_stage(40));
  StageSpec spec = stub_spec("sum", 2, 1);
  spec.checkpointable = checkpointable;
  const int b = plan.add("sum", spec, std::make_shared<StubStage>([](StubState& state, StageIo& io) {
                           const int port = io.ended(0) ? 1 : 0;
                           if (io.ended(port)) return StepStatus::done;
                           if (io.available(port) == 0) return StepStatus::need_input;
                           if (io.space(0) == 0) return StepStatus::output_full;
                           state.counter += number_of(io.take(port)) + static_cast<std::int64_t>(io.seed() % 7);
                           io.push(0, number(state.counter));
                           return StepStatus::ready;
                         }));
  const int out = plan.read("out");
  plan.link(a, 0, b, 0, 3).link(in, 0, b, 1, 3).link(b, 0, out, 0, 3);
  return plan;
}

std::vector<std::int64_t> drain(Run& run, std::vector<std::uint64_t>& sequences, std::size_t most = 1000) {
  std::vector<std::int64_t> numbers;
  while (numbers.size() < most) {
    auto packet = run.read("out", kLong);
    REQUIRE(packet);
    if (packet->ends_stream()) break;
    numbers.push_back(number_of(*packet));
    sequences.push_back(packet->sequence);
  }
  return numbers;
}

}  // namespace

TEST_CASE("a paused run goes on from its checkpoint in other executors with the same result", "[unit]") {
  Registry registry;
  builtin::register_payloads(registry);
  exec::ExecutorsOptions with_registry;
  with_registry.registry = &registry;
  RunOptions options;
  options.seed = 99;
  const PlanBuilder plan = summing_plan();
  std::vector<std::int64_t> whole;
  {
    exec::Executors executors(with_registry);
    auto run = executors.create(plan.plan(), plan.stages(), options);
    run->start();
    run->feed("in", number(5));
    run->end_input("in");
    std::vector<std::uint64_t> unused;
    whole = drain(*run, unused);
    REQUIRE(whole.size() == 41);
  }
  const auto file = temporary("run.ckpt");
  std::vector<std::int64_t> parts;
  std::vector<std::uint64_t> sequences;
  const auto n_before = static_cast<std::size_t>(GENERATE(0, 1, 11, 39));
  {
    exec::Executors executors(with_registry);
    auto run = executors.create(plan.plan(), plan.stages(), options);
    CHECK_THROWS_AS(run->checkpoint(file), Error);
    run->start();
    run->feed("in", number(5));
    parts = drain(*run, sequences, n_before);
    run->pause();
    run->checkpoint(file);
  }
  CHECK(read_checkpoint(file).run.seed == 99);
  {
    exec::Executors executors(with_registry);
    const PlanBuilder again = summing_plan();
    auto run = executors.resume(again.plan(), again.stages(), file, {});
    run->start();
    run->end_input("in");
    const auto rest = drain(*run, sequences);
    parts.insert(parts.end(), rest.begin(), rest.end());
    run->wait();
  }
  CHECK(parts == whole);
  REQUIRE(sequences.size() == whole.size());
  for (std::size_t i = 0; i < sequences.size(); ++i) CHECK(sequences[i] == i);  // none twice, none left out

  // Another pipeline, and a damaged file.
  exec::Executors executors(with_registry);
  PlanBuilder other("other");
  other.add("a", stub_spec("a", 0, 0), counting_stage(1));
  CHECK_THROWS_AS(executors.resume(other.plan(), other.stages(), file, {}), Error);
  std::string bytes = slurp(file);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  std::ofstream(file, std::ios::binary) << bytes;
  try {
    executors.resume(plan.plan(), plan.stages(), file, {});
    FAIL("a damaged checkpoint must be refused");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::format);
  }
  std::filesystem::remove(file);
  CHECK_THROWS_AS(read_checkpoint(file), Error);
}

TEST_CASE("a stage that was done when the run was saved is not opened again", "[unit]") {
  class Once final : public Stage {
   public:
    std::unique_ptr<StageState> open(const OpenContext&) const override {
      ++n_opened;
      return std::make_unique<StubState>();
    }
    void step(std::span<StepItem> items) const override {
      for (StepItem& item : items) item.status = StepStatus::done;
    }
    mutable std::atomic<int> n_opened{0};
  };
  Registry registry;
  builtin::register_payloads(registry);
  exec::ExecutorsOptions with_registry;
  with_registry.registry = &registry;
  auto once = std::make_shared<Once>();
  PlanBuilder plan;
  plan.add("once", stub_spec("once", 0, 0), once);
  const int in = plan.feed("in");
  const int out = plan.read("out");
  plan.link(in, 0, out, 0);
  const auto file = temporary("done.ckpt");
  exec::Executors executors(with_registry);
  {
    auto run = executors.create(plan.plan(), plan.stages(), {});
    run->start();
    while (run->metrics().at("once").steps == 0) std::this_thread::yield();
    run->pause();
    run->checkpoint(file);
  }
  CHECK(once->n_opened == 1);
  auto run = executors.resume(plan.plan(), plan.stages(), file, {});
  run->start();
  run->end_input("in");
  run->wait();
  CHECK(once->n_opened == 1);
  std::filesystem::remove(file);
}

TEST_CASE("stages that cannot be saved are named", "[unit]") {
  const PlanBuilder plan = summing_plan(false);
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->pause();
  try {
    run->checkpoint(temporary("never.ckpt"));
    FAIL("checkpoint() must refuse");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::pipeline);
    CHECK(std::string(error.what()).find("sum (sum)") != std::string::npos);
    CHECK(std::string(error.what()).find("count") == std::string::npos);
  }
}

TEST_CASE("a checkpoint is one whole file and touches no other", "[unit]") {
  const auto folder = temporary("checkpoints");
  std::filesystem::create_directories(folder);
  const auto file = folder / "run.ckpt";
  std::ofstream(folder / "run.ckpt.part") << "somebody's";
  const PlanBuilder plan = summing_plan();
  exec::Executors executors({});
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->pause();
  std::vector<std::thread> savers;
  for (int i = 0; i < 4; ++i)
    savers.emplace_back([&] {
      for (int k = 0; k < 20; ++k) run->checkpoint(file);
    });
  for (std::thread& saver : savers) saver.join();
  CHECK_NOTHROW(read_checkpoint(file));
  CHECK(slurp(folder / "run.ckpt.part") == "somebody's");
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 2);
  CHECK_THROWS_AS(run->checkpoint(folder), Error);  // a folder has that name
  CHECK_THROWS_AS(run->checkpoint(folder / "none" / "run.ckpt"), Error);
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 2);
  CHECK(run->state() == RunState::paused);
  std::filesystem::remove_all(folder);
}
