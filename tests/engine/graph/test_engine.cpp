// The Engine: loads once, shares stages between runs, runs a small pipeline, reports what cannot be loaded.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "engine/graph/compile_fixture.h"
#include "morph/engine.h"
#include "testing/stub_stages.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace {

const char* const kDouble = R"({"morph": 1, "name": "double", "inputs": {"in": {"type": "event", "to": "twice.in0"}},
  "outputs": {"out": {"type": "event", "from": "twice.out0"}}, "stages": {"twice": {"stage": "number/twice"}}})";

struct Made {
  std::atomic<int> n_created{0};
  std::atomic<bool> fail{false};
};

std::unique_ptr<Engine> engine_with(Made& made) {
  EngineOptions options;
  options.n_threads = 2;
  options.model_folders = {"/nowhere"};
  return std::make_unique<Engine>(options, [&made](Registry& registry) {
    StageSpec spec = stub_spec("number/twice", 1, 1);
    spec.estimate = [](const ResolveContext&) {
      Estimate estimate;
      estimate.session = 1 << 20;
      return estimate;
    };
    spec.create = [&made](const CreateContext& context) -> std::shared_ptr<const Stage> {
      if (made.fail) throw std::runtime_error("no luck");
      ++made.n_created;
      context.progress(0.5, "half");
      return mapping_stage([](std::int64_t x) { return 2 * x; });
    };
    registry.add_stage(spec);
  });
}

}  // namespace

TEST_CASE("an engine runs a pipeline, and two runs share one stage", "[unit]") {
  Made made;
  const auto engine = engine_with(made);
  const CompileResult compiled = engine->compile(parse_pipeline(kDouble, "double"), {});
  REQUIRE(compiled.plan != nullptr);
  double last = 0.0;
  engine->load(compiled.plan, [&](double fraction, std::string_view) { last = fraction; });
  CHECK(last == 1.0);
  auto one = engine->create_run(compiled.plan, {});
  auto two = engine->create_run(compiled.plan, {});
  CHECK(made.n_created == 1);
  for (Run* run : {one.get(), two.get()}) {
    run->start();
    REQUIRE(run->feed("in", number(21)));
    run->end_input("in");
    const auto packet = run->read("out", std::chrono::seconds(20));
    REQUIRE(packet);
    CHECK(number_of(*packet) == 42);
    const auto end = run->read("out", std::chrono::seconds(20));
    REQUIRE(end);
    CHECK(end->kind == PacketKind::end);
    run->wait();
  }
}

TEST_CASE("stages go with their plan, and another plan that agrees finds them", "[unit]") {
  Made made;
  const auto engine = engine_with(made);
  const Pipeline pipeline = parse_pipeline(kDouble, "double");
  auto first = engine->compile(pipeline, {}).plan;
  engine->load(first, nullptr);
  const auto second = engine->compile(pipeline, {}).plan;
  engine->load(second, nullptr);
  CHECK(made.n_created == 1);
  first.reset();
  engine->load(second, nullptr);
  CHECK(made.n_created == 1);
}

TEST_CASE("what a stage throws while loading names the stage", "[unit]") {
  Made made;
  made.fail = true;
  const auto engine = engine_with(made);
  const auto plan = engine->compile(parse_pipeline(kDouble, "double"), {}).plan;
  CHECK_THROWS_WITH(engine->load(plan, nullptr), Contains("double/twice: number/twice could not be loaded: no luck"));
  CHECK_THROWS_AS(engine->create_run(nullptr, {}), Error);
  made.fail = false;
  CHECK_NOTHROW(engine->load(plan, nullptr));
}

TEST_CASE("runs are let in only while their memory fits together", "[unit]") {
  Made made;
  const auto engine = engine_with(made);
  const Pipeline pipeline = parse_pipeline(kDouble, "double");
  CompileOptions options;
  const std::uint64_t alone = engine->compile(pipeline, options).plan->memory.total();
  options.memory_budget = alone + (1 << 19);
  const auto plan = engine->compile(pipeline, options).plan;
  REQUIRE(plan != nullptr);
  auto run = engine->create_run(plan, {});
  CHECK_THROWS_WITH(engine->create_run(plan, {}), Contains("this run and the 1 live ones together need"));
  run.reset();
  CHECK_NOTHROW(engine->create_run(plan, {}));
}

TEST_CASE("the model store loads once for all who ask at once", "[unit]") {
  struct Weights final : Model {};
  ModelStore store;
  std::atomic<int> n_loads{0};
  const auto load = [&]() -> std::shared_ptr<const Model> {
    ++n_loads;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return std::make_shared<Weights>();
  };
  std::shared_ptr<const Model> a, b;
  std::thread other([&] { a = store.get("k", load); });
  b = store.get("k", load);
  other.join();
  CHECK(a == b);
  CHECK(n_loads == 1);
  a.reset();
  b.reset();
  CHECK_THROWS_WITH(
      store.get("k", []() -> std::shared_ptr<const Model> { throw Error(ErrorCode::weights, "f", "bad"); }), "f: bad");
  CHECK(store.get("k", load) != nullptr);
  CHECK(n_loads == 2);
}

TEST_CASE("a model is found by name or path, or the error says how to get it", "[unit]") {
  TemporaryFolder folder;
  folder.write("whisper-base/config.json", "{}");
  const ModelLocator locator({folder.path()});
  CHECK(locator.find("whisper-base") == folder.path() / "whisper-base");
  CHECK(locator.find((folder.path() / "whisper-base").string()) == folder.path() / "whisper-base");
  try {
    locator.find("whisper-bse");
    FAIL("expected an error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::weights);
    CHECK_THAT(error.what(), Contains("did you mean \"whisper-base\"?") && Contains("morph pull whisper-bse") &&
                                 Contains("morph pull starter") && Contains(folder.path().string()));
  }
  CHECK_THROWS_WITH(locator.find("/no/such/place"), Contains("there is no such file or folder"));
}
