// The Engine: loads once, shares stages between runs, runs a small pipeline, reports what cannot be loaded.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <future>
#include <stdexcept>
#include <thread>

#include "engine/graph/compile_fixture.h"
#include "host/stage_cache.h"
#include "morph/engine.h"
#include "morph/log.h"
#include "testing/stub_stages.h"

using namespace morph;
using namespace morph::testing;
using Catch::Contains;

namespace {

const char* const kDouble = R"({"morph": 1, "name": "double", "inputs": {"in": {"type": "event", "to": "twice.in0"}},
  "outputs": {"out": {"type": "event", "from": "twice.out0"}}, "stages": {"twice": {"stage": "number/twice"}}})";

struct Made {
  std::atomic<int> n_created{0};
  std::atomic<bool> fail{false}, swallow{false};
  std::shared_ptr<std::atomic<int>> alive{};  ///< counts living stages when set
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
      try {
        context.progress(0.5, "half");
      } catch (...) {
        if (!made.swallow) throw;
      }
      std::shared_ptr<void> life;
      if (made.alive) {
        ++*made.alive;
        life = std::shared_ptr<void>(nullptr, [alive = made.alive](void*) { --*alive; });
      }
      return mapping_stage([life](std::int64_t x) { return 2 * x; });
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

TEST_CASE("stages go when the last plan does, without another load; plans may outlive the engine", "[unit]") {
  Made made;
  made.alive = std::make_shared<std::atomic<int>>(0);
  auto engine = engine_with(made);
  const Pipeline pipeline = parse_pipeline(kDouble, "double");
  auto first = engine->compile(pipeline, {}).plan;
  auto second = engine->compile(pipeline, {}).plan;
  engine->load(first, nullptr);
  engine->load(second, nullptr);
  CHECK(*made.alive == 1);
  first.reset();
  CHECK(*made.alive == 1);
  auto run = engine->create_run(second, {});
  second.reset();
  CHECK(*made.alive == 1);  // the run has it
  run.reset();
  CHECK(*made.alive == 0);
  first = engine->compile(pipeline, {}).plan;
  engine->load(first, nullptr);
  CHECK(made.n_created == 2);
  engine.reset();
  CHECK(*made.alive == 0);
  first.reset();
}

TEST_CASE("a model that is replaced while an engine lives is loaded anew", "[unit]") {
  struct Factor final : Model {
    std::int64_t value = 0;
  };
  TemporaryFolder folder;
  const auto write = [&](const std::string& text) {  // as a download does: beside it, then by rename
    folder.write("times/new", text);
    std::filesystem::rename(folder.path() / "times/new", folder.path() / "times/factor");
  };
  write("2");
  std::atomic<int> n_created{0}, n_loaded{0};
  EngineOptions options;
  options.n_threads = 1;
  options.model_folders = {folder.path()};
  Engine engine(options, [&](Registry& registry) {
    StageSpec spec = stub_spec("number/twice", 1, 1);
    spec.create = [&](const CreateContext& context) -> std::shared_ptr<const Stage> {
      ++n_created;
      const auto file = context.find_model("times") / "factor";
      const auto factor = context.models.get_as<Factor>("factor|" + file.string(), [&] {
        ++n_loaded;
        auto loaded = std::make_shared<Factor>();
        std::ifstream(file) >> loaded->value;
        return loaded;
      });
      return mapping_stage([factor](std::int64_t x) { return x * factor->value; });
    };
    registry.add_stage(spec);
  });
  const auto answer = [&](const std::shared_ptr<const Plan>& plan) {
    auto run = engine.create_run(plan, {});
    run->start();
    run->feed("in", number(10));
    run->end_input("in");
    const auto packet = run->read("out", std::chrono::seconds(20));
    REQUIRE(packet);
    return number_of(*packet);
  };
  const Pipeline pipeline = parse_pipeline(kDouble, "double");
  const auto old = engine.compile(pipeline, {}).plan;
  CHECK(answer(old) == 20);
  CHECK(answer(engine.compile(pipeline, {}).plan) == 20);
  CHECK(n_created == 1);
  write("3");  // of the same size
  const auto replaced = engine.compile(pipeline, {}).plan;
  CHECK(answer(replaced) == 30);  // although the old plan still holds the old weights
  CHECK(answer(old) == 20);
  CHECK(answer(engine.compile(pipeline, {}).plan) == 30);
  CHECK(n_created == 2);
  CHECK(n_loaded == 2);
}

TEST_CASE("a fingerprint sees what was replaced, added and removed", "[unit]") {
  TemporaryFolder folder;
  folder.write("m/a", "1");
  folder.write("m/sub/b", "22");
  const auto model = folder.path() / "m";
  std::vector<std::uint64_t> seen{files_fingerprint(model)};
  CHECK(files_fingerprint(model) == seen[0]);
  folder.write("other", "1");
  CHECK(files_fingerprint(model) == seen[0]);
  const auto changed = [&] {
    const std::uint64_t now = files_fingerprint(model);
    CHECK(std::count(seen.begin(), seen.end(), now) == 0);
    seen.push_back(now);
  };
  folder.write("m/sub/b", "333");
  changed();
  folder.write("m/sub/c", "");
  changed();
  std::filesystem::rename(model / "sub/c", model / "sub/d");
  changed();
  const auto time = std::filesystem::last_write_time(model / "a");
  std::filesystem::rename(folder.path() / "other", model / "a");
  std::filesystem::last_write_time(model / "a", time);  // same name, size and time; another file
  changed();
  std::filesystem::last_write_time(model / "a", time - std::chrono::hours(1));
  changed();
  CHECK(files_fingerprint(model / "a") != files_fingerprint(model / "sub/b"));
  std::filesystem::remove(model / "a");
  changed();
  CHECK(files_fingerprint(folder.path() / "none") == files_fingerprint(folder.path() / "neither"));
}

TEST_CASE("forgetting a model spares those whose name only begins the same", "[unit]") {
  struct Weights final : Model {};
  ModelStore store;
  int n_loads = 0;
  const auto load = [&]() -> std::shared_ptr<const Model> {
    ++n_loads;
    return std::make_shared<Weights>();
  };
  const auto a = store.get("kind|/models/voice/file.onnx|cpu", load), b = store.get("kind|/models/voice-2|cpu", load),
             c = store.get("kind|/models/voice|cpu", load);
  CHECK(n_loads == 3);
  store.forget("/models/voice");
  CHECK(store.get("kind|/models/voice-2|cpu", load) == b);
  CHECK(store.get("kind|/models/voice/file.onnx|cpu", load) != a);
  CHECK(store.get("kind|/models/voice|cpu", load) != c);
}

TEST_CASE("what a load's progress function throws ends the loading and comes to its caller as it was", "[unit]") {
  Made made;
  made.alive = std::make_shared<std::atomic<int>>(0);
  const auto engine = engine_with(made);
  const auto plan = engine->compile(parse_pipeline(kDouble, "double"), {}).plan;
  int n_calls = 0;
  const auto progress = [&](double, std::string_view) {
    ++n_calls;
    throw std::domain_error("stop");
  };
  CHECK_THROWS_AS(engine->load(plan, progress), std::domain_error);
  CHECK(n_calls == 1);
  CHECK(*made.alive == 0);  // it was ended half-way
  made.swallow = true;      // as a library would
  CHECK_THROWS_AS(engine->load(plan, progress), std::domain_error);
  CHECK(n_calls == 2);
  CHECK(*made.alive == 0);
  CHECK_NOTHROW(engine->load(plan, nullptr));
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
  CHECK_THROWS_WITH(engine->create_run(plan, {}),
                    Contains("sessions 1.0 MiB") && Contains("(the memory budget)") && Contains("double: "));
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

TEST_CASE("runs that differ in run parameters share a stage; those of loading tell stages apart", "[unit]") {
  std::atomic<int> n_created{0};
  EngineOptions options;
  options.model_folders = {"/nowhere"};
  std::vector<std::string> seen;
  Engine engine(options, [&](Registry& registry) {
    StageSpec spec = stub_spec("number/twice", 1, 1);
    spec.params = {
        {.name = "size", .type = ParamType::integer, .default_value = std::int64_t{1}, .help = ""},
        {.name = "heat", .type = ParamType::number, .default_value = 0.0, .help = "", .scope = ParamScope::run}};
    spec.create = [&](const CreateContext& context) -> std::shared_ptr<const Stage> {
      ++n_created;
      for (const auto& [name, value] : context.params.values()) seen.push_back(name);
      return mapping_stage([](std::int64_t x) { return 2 * x; });
    };
    registry.add_stage(spec);
  });
  const auto load = [&](std::map<std::string, Value> params) {
    CompileOptions compile;
    compile.params = std::move(params);
    const CompileResult result = engine.compile(parse_pipeline(kDouble, "test"), compile);
    REQUIRE(result.plan);
    engine.load(result.plan, nullptr);
    return result.plan;
  };
  const auto cold = load({}), warm = load({{"twice.heat", 0.5}});
  CHECK(n_created == 1);
  CHECK(seen == std::vector<std::string>{"size"});  // what tells runs apart is none of a stage's business
  const auto large = load({{"twice.size", std::int64_t{2}}});
  CHECK(n_created == 2);
}

TEST_CASE("a run of a loaded plan is made while another plan loads", "[unit]") {
  std::promise<void> loading, let_go;
  std::shared_future<void> go = let_go.get_future().share();
  EngineOptions options;
  options.model_folders = {"/nowhere"};
  Engine engine(options, [&](Registry& registry) {
    StageSpec spec = stub_spec("number/twice", 1, 1);
    spec.params = {{.name = "slow", .type = ParamType::boolean, .default_value = false, .help = ""}};
    spec.create = [&](const CreateContext& context) -> std::shared_ptr<const Stage> {
      if (context.params.get_bool("slow")) {
        loading.set_value();
        go.wait();
      }
      return mapping_stage([](std::int64_t x) { return 2 * x; });
    };
    registry.add_stage(spec);
  });
  const auto compile = [&](bool slow) {
    CompileOptions one;
    one.params = {{"twice.slow", slow}};
    return engine.compile(parse_pipeline(kDouble, "test"), one).plan;
  };
  const auto quick = compile(false), slow = compile(true);
  engine.load(quick, nullptr);
  std::thread loader([&] { engine.load(slow, nullptr); });
  loading.get_future().wait();
  auto run = engine.create_run(quick, {});  // a defect hangs here
  run->start();
  run->feed("in", number(4));
  CHECK(number_of(*run->read("out", std::chrono::seconds(60))) == 8);
  let_go.set_value();
  loader.join();
}

TEST_CASE("two types of model under one key are a named error", "[unit]") {
  struct One final : Model {};
  struct Other final : Model {};
  ModelStore store;
  const auto held = store.get_as<One>("the key", [] { return std::make_shared<const One>(); });
  try {
    store.get_as<Other>("the key", [] { return std::make_shared<const Other>(); });
    FAIL("expected an Error");
  } catch (const Error& error) {
    CHECK(error.where() == "the key");
    CHECK_THAT(error.message(), Contains("One") && Contains("Other"));
  }
}

TEST_CASE("a log sink may log, and wait for a thread that does", "[unit]") {
  std::atomic<int> n_lines{0};
  set_log_sink([&](LogLevel, std::string_view line) {
    ++n_lines;
    if (line.find("outer") == std::string_view::npos) return;
    log(LogLevel::error, "test", "inner");
    std::thread([] { log(LogLevel::error, "test", "from a thread"); }).join();
  });
  log(LogLevel::error, "test", "outer");
  set_log_sink(nullptr);
  CHECK(n_lines == 3);
}

TEST_CASE("a diagnostic names stage, port and parameter as fields", "[unit]") {
  Made made;
  const auto engine = engine_with(made);
  const auto findings = [&](const std::string& document, CompileOptions options = {}) {
    const CompileResult result = engine->compile(parse_pipeline(document, "test"), options);
    REQUIRE_FALSE(result.diagnostics.empty());
    return result.diagnostics.front();
  };
  CompileOptions wrong;
  wrong.params = {{"twice.nothing", true}};
  Diagnostic found = findings(kDouble, wrong);
  CHECK(found.stage == "twice");
  CHECK(found.parameter == "nothing");
  CHECK(found.port.empty());
  wrong.params = {{"nothing", true}};
  found = findings(kDouble, wrong);
  CHECK(found.stage.empty());
  CHECK(found.parameter == "nothing");
  found = findings(R"({"morph": 1, "name": "double", "outputs": {"out": {"type": "event", "from": "twice.out0"}},
    "stages": {"twice": {"stage": "number/twice"}}})");
  CHECK(found.stage == "twice");
  CHECK(found.port == "in0");
  CHECK(found.parameter.empty());
}
