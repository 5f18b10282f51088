// The Engine's memory: what is idle makes room, devices are not overcommitted, stages grow and lease by the books. The
// device is a stub whose driver counts what lies on it.
#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <string>

#include "morph/engine.h"
#include "morph/memory.h"
#include "testing/stub_stages.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;

/// A stub device and what lies on it.
struct Stub {
  std::uint64_t total_mib = 1000;
  std::atomic<std::uint64_t> used_mib{0}, most_mib{0};
  std::atomic<int> n_loads{0};
  std::mutex mutex{};
  std::shared_ptr<StageMemory> memory{};  ///< of the stage made last
  std::vector<std::string> seen{};        ///< which leases a step had, in order

  std::shared_ptr<void> put(std::uint64_t mib) {
    ++n_loads;
    most_mib = std::max(most_mib.load(), used_mib += mib);
    return {this, [this, mib](void*) { used_mib -= mib; }};
  }
  std::uint64_t booked_mib(const Engine& engine, const std::string& place = "stub:0") const {
    for (const MemoryPlace& each : engine.memory().places)
      if (each.place == place) return each.bytes / kMiB;
    return 0;
  }
};

ParamSpec whole(const std::string& name) {
  return {.name = name, .type = ParamType::integer, .default_value = std::int64_t{0}, .help = "MiB"};
}

struct StubWeights final : Model {
  explicit StubWeights(std::shared_ptr<void> on_device) : place(std::move(on_device)) {}
  std::shared_ptr<void> place;
};

/// "stub/hold" holds weights from loading on; "stub/lease" leases them for each step.
void register_stub_stages(Registry& registry, Stub& stub) {
  registry.add_devices([&stub] {
    return std::vector<DeviceInfo>{{"stub:0", "stub", "a stub", stub.total_mib * kMiB,
                                    (stub.total_mib - std::min(stub.total_mib, stub.used_mib.load())) * kMiB, "test"}};
  });
  for (const bool leases : {false, true}) {
    StageSpec spec = stub_spec(leases ? "stub/lease" : "stub/hold", 1, 1);
    spec.devices = {"cpu", "stub"};
    spec.params = {whole("weights"), whole("session"), whole("pool")};
    spec.estimate = [leases](const ResolveContext& context) {
      const auto mib = [&](const char* name) {
        return static_cast<std::uint64_t>(context.params.get_int(name)) * kMiB;
      };
      Estimate estimate;
      estimate.weights = mib("weights");
      estimate.session = mib("session") + mib("pool");
      estimate.session_pooled = context.params.get_int("pool") > 0;
      estimate.weights_leased = leases;
      return estimate;
    };
    spec.create = [leases, &stub](const CreateContext& context) -> std::shared_ptr<const Stage> {
      const auto mib = static_cast<std::uint64_t>(context.params.get_int("weights"));
      {
        const std::lock_guard lock(stub.mutex);  // stages are made side by side
        stub.memory = context.memory;
      }
      if (!leases) {
        const std::shared_ptr<void> weights = stub.put(mib);
        return mapping_stage([weights](std::int64_t x) { return 2 * x; });
      }
      const WeightLease wanted{std::to_string(mib), mib * kMiB,
                               [&stub, mib] { return std::make_shared<StubWeights>(stub.put(mib)); }};
      return mapping_stage([memory = context.memory, wanted, &stub](std::int64_t x) {
        const auto weights = memory->lease(wanted);
        stub.seen.push_back(wanted.key);
        return x + 1;
      });
    };
    registry.add_stage(spec);
  }
}

std::unique_ptr<Engine> engine_with(Stub& stub) {
  EngineOptions options;
  options.n_threads = 2;
  options.model_folders = {"/nowhere"};
  return std::make_unique<Engine>(options, [&stub](Registry& registry) { register_stub_stages(registry, stub); });
}

Pipeline one_stage(const std::string& name, const std::string& params, const std::string& executor) {
  return parse_pipeline(R"({"morph": 1, "name": ")" + name + R"(", "inputs": {"in": {"type": "event", "to": "s.in0"}},
    "outputs": {"out": {"type": "event", "from": "s.out0"}}, "stages": {"s": {"stage": "stub/hold",
    "executor": ")" + executor +
                            R"(", "params": {)" + params + "}}}}",
                        name);
}

std::shared_ptr<const Plan> compiled(Engine& engine, const Pipeline& pipeline, std::uint64_t budget = 0) {
  CompileOptions options;
  options.memory_budget = budget;
  const CompileResult result = engine.compile(pipeline, options);
  std::string text;
  for (const Diagnostic& each : result.diagnostics) text += each.message + "\n";
  INFO(text);
  REQUIRE(result.plan != nullptr);
  return result.plan;
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::resource);
    return error.what();
  }
  FAIL("expected a refusal");
  return "";
}

}  // namespace

TEST_CASE("of two idle plans that do not fit together the older makes room, and comes back when it is run", "[unit]") {
  Stub stub;
  const auto engine = engine_with(stub);
  const auto first = compiled(*engine, one_stage("first", R"("weights": 600)", "stub:0"));
  const auto second = compiled(*engine, one_stage("second", R"("weights": 700)", "stub:0"));
  engine->load(first, nullptr);
  CHECK(stub.used_mib == 600);
  engine->load(second, nullptr);
  CHECK(stub.used_mib == 700);
  CHECK(stub.most_mib == 700);
  {
    const auto run = engine->create_run(first, {});
    CHECK(stub.used_mib == 600);
    CHECK_THAT(refusal([&] { engine->load(second, nullptr); }),
               Contains("second: expected room for 700 MiB more in the memory of stub:0, found 600 MiB of 1000 MiB") &&
                   Contains("first: 600 MiB"));
    CHECK_THROWS_AS(engine->create_run(second, {}), Error);
    CHECK_NOTHROW(engine->create_run(first, {}));
    run->start();
    REQUIRE(run->feed("in", number(21)));
    const auto packet = run->read("out", std::chrono::seconds(20));
    REQUIRE(packet);
    CHECK(number_of(*packet) == 42);
  }
  CHECK_NOTHROW(engine->create_run(second, {}));
  CHECK(stub.n_loads == 4);
}

TEST_CASE("idle plans on the host make room within a budget", "[unit]") {
  Stub stub;
  const auto engine = engine_with(stub);
  const Pipeline small = one_stage("small", R"("weights": 30)", "cpu"),
                 large = one_stage("large", R"("weights": 40)", "cpu");
  const auto one = compiled(*engine, small);
  const std::uint64_t budget = compiled(*engine, large)->memory.total() + 10 * kMiB;
  const auto other = compiled(*engine, large, budget);
  engine->load(one, nullptr);
  engine->load(other, nullptr);
  CHECK(stub.used_mib == 40);
  auto run = engine->create_run(other, {});
  CHECK_THAT(refusal([&] { engine->load(one, nullptr); }), Contains("(the memory budget)"));
  run.reset();
  engine->load(one, nullptr);  // nobody's wish holds any more: both fit the machine
  CHECK(stub.used_mib == 70);
}

TEST_CASE("what is on a device compiles again; a plan that never fits is refused before it loads", "[unit]") {
  Stub stub;
  const auto engine = engine_with(stub);
  const Pipeline pipeline = one_stage("plan", R"("weights": 700, "session": 50)", "stub:0");
  const auto plan = compiled(*engine, pipeline);
  CHECK(plan->memory.by_device.at("stub:0") == 750 * kMiB);
  const auto run = engine->create_run(plan, {});
  const auto again = compiled(*engine, pipeline);  // the driver says that 300 MiB are free
  CHECK_NOTHROW(engine->create_run(again, {}));
  CHECK(stub.n_loads == 1);
  const CompileResult never = engine->compile(one_stage("huge", R"("weights": 1001)", "stub:0"), {});
  CHECK(never.plan == nullptr);
  CHECK(never.diagnostics.front().code == ErrorCode::resource);
}

TEST_CASE("two runs cannot overcommit a device", "[unit]") {
  Stub stub;
  const auto engine = engine_with(stub);
  const auto plan = compiled(*engine, one_stage("plan", R"("weights": 500, "session": 300)", "stub:0"));
  auto run = engine->create_run(plan, {});
  CHECK(stub.booked_mib(*engine) == 800);
  CHECK_THAT(refusal([&] { engine->create_run(plan, {}); }),
             Contains("expected room for 300 MiB more in the memory of stub:0, found 800 MiB of 1000 MiB"));
  run.reset();
  CHECK(stub.booked_mib(*engine) == 500);
  CHECK_NOTHROW(engine->create_run(plan, {}));
}

TEST_CASE("a stage that grows asks, idle plans make room for it, and what it took goes with it", "[unit]") {
  Stub stub;
  const auto engine = engine_with(stub);
  auto grows = compiled(*engine, one_stage("grows", R"("weights": 100, "pool": 100)", "stub:0"));
  auto idle = compiled(*engine, one_stage("idle", R"("weights": 600)", "stub:0"));
  auto run = engine->create_run(grows, {});
  std::shared_ptr<StageMemory> memory = stub.memory;
  engine->load(idle, nullptr);
  CHECK(stub.booked_mib(*engine) == 800);
  memory->keep_pool(300 * kMiB);
  CHECK(stub.booked_mib(*engine) == 1000);
  {
    const auto second = engine->create_run(grows, {});  // the pool has room for it
    CHECK(stub.booked_mib(*engine) == 1000);
    CHECK(stub.used_mib == 700);
    const auto more = memory->take(150 * kMiB, "copying");
    CHECK(stub.used_mib == 100);
    CHECK(stub.booked_mib(*engine) == 550);
    CHECK_THAT(refusal([&] { memory->take(500 * kMiB, "copying"); }), Contains("grows/s, copying: expected room for"));
  }
  CHECK(stub.booked_mib(*engine) == 400);
  run.reset();  // now the plan is idle, and what its stage took goes with it when somebody else needs the room
  memory.reset();
  stub.memory.reset();
  const auto large = compiled(*engine, one_stage("large", R"("weights": 950)", "stub:0"));
  CHECK_NOTHROW(engine->load(large, nullptr));
  CHECK(stub.booked_mib(*engine) == 950);
}

TEST_CASE("a run's encoder gives its place on a small device to its denoiser, step after step", "[unit]") {
  Stub stub;
  const auto engine = engine_with(stub);
  const Pipeline picture = parse_pipeline(R"({"morph": 1, "name": "picture",
    "inputs": {"in": {"type": "event", "to": "encode.in0"}}, "outputs": {"out": {"type": "event", "from": "denoise.out0"}},
    "stages": {"encode": {"stage": "stub/lease", "executor": "stub:0", "params": {"weights": 600, "session": 50}},
               "denoise": {"stage": "stub/lease", "executor": "stub:0", "params": {"weights": 800, "session": 50}}},
    "links": ["encode.out0 -> denoise.in0"]})",
                                          "picture");
  const auto plan = compiled(*engine, picture);
  CHECK(plan->memory.by_device.at("stub:0") == 900 * kMiB);
  const auto run = engine->create_run(plan, {});
  run->start();
  for (int i = 0; i < 3; ++i) {
    REQUIRE(run->feed("in", number(i)));
    const auto packet = run->read("out", std::chrono::seconds(20));
    REQUIRE(packet);
    CHECK(number_of(*packet) == i + 2);
  }
  CHECK(stub.most_mib == 800);
  CHECK(stub.n_loads == 6);
  CHECK(stub.seen == std::vector<std::string>{"600", "800", "600", "800", "600", "800"});
}

TEST_CASE("explain tells what is held, what others have and what of theirs is idle", "[unit]") {
  Stub stub;
  const auto engine = engine_with(stub);
  const Pipeline pipeline = one_stage("one", R"("weights": 30)", "cpu");
  const auto plan = compiled(*engine, pipeline);
  CHECK(plan->memory.others == 0);
  engine->load(plan, nullptr);
  const auto held = compiled(*engine, pipeline);
  // What the process itself has may still grow a little meanwhile.
  CHECK(held->memory.held + 4 * kMiB > plan->memory.held + 30 * kMiB);
  CHECK(held->memory.held < plan->memory.held + 34 * kMiB);
  CHECK(held->memory.others == 0);
  const auto other = compiled(*engine, one_stage("two", R"("weights": 20)", "cpu"));
  CHECK(other->memory.others == 30 * kMiB);
  CHECK(other->memory.others_idle == 30 * kMiB);
  CHECK_THAT(explain_text(*other), Contains("30 MiB  of theirs, unused"));
  const MemoryReport report = engine->memory();
  REQUIRE(report.lines.size() == 1);
  CHECK(report.lines.front().who == "one");
  CHECK(report.lines.front().kind == "weights");
  CHECK(report.lines.front().held == 30 * kMiB);
}
