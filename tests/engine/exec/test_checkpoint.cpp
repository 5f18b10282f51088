// What a farm relies on: saving holds up the saved run alone, a cancel meanwhile takes nothing away, the file is whole
// or not there, a finished run leaves a note and no segments, and one process at a time works on a run.
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "exec/checkpoint.h"
#include "exec/executors.h"
#include "exec/segment_files.h"
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

/// A folder of its own that goes with the test.
struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "morph-saved-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(path)) all.push_back(entry.path().filename().string());
    std::sort(all.begin(), all.end());
    return all;
  }
  std::filesystem::path path;
};

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

/// A door that save() waits at.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    reached_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void wait_until_reached() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return reached_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reached_ = false, open_ = false;
};

/// Its states count themselves, and their save() waits at the gate.
class Slow final : public Stage {
 public:
  struct State final : StageState {
    State(Gate* the_gate, std::atomic<int>* the_count) : gate(the_gate), alive(the_count) { ++*alive; }
    ~State() override { --*alive; }
    std::vector<std::byte> save() const override {
      gate->pass();
      return std::vector<std::byte>(static_cast<std::size_t>(alive->load()));  // looked at after the door
    }
    Gate* gate;
    std::atomic<int>* alive;
  };
  std::unique_ptr<StageState> open(const OpenContext&) const override { return std::make_unique<State>(&gate, &alive); }
  void step(std::span<StepItem> items) const override {
    for (StepItem& item : items) item.status = item.io->ended(0) ? StepStatus::done : StepStatus::need_input;
  }
  mutable Gate gate;
  mutable std::atomic<int> alive{0};
};

PlanBuilder slow_plan(const std::shared_ptr<Slow>& slow) {
  PlanBuilder plan("slow");
  const int in = plan.feed("in");
  const int node = plan.add("slow", stub_spec("slow", 1, 0), slow);
  plan.link(in, 0, node, 0);
  return plan;
}

/// A sink that keeps what it is given in segments and writes their sum in the end.
class Keeping final : public Stage {
 public:
  explicit Keeping(std::filesystem::path out) : out_(std::move(out)) {}
  struct State final : StageState {
    explicit State(std::filesystem::path folder) : segments(std::move(folder)) {}
    std::vector<std::byte> save() const override {
      std::vector<std::byte> saved;
      wire::Writer writer(saved);
      segments.save(writer);
      return saved;
    }
    void restore(std::span<const std::byte> saved) override {
      wire::Reader reader(saved, "keeping");
      segments.restore(reader);
    }
    exec::SegmentFiles segments;
  };
  std::unique_ptr<StageState> open(const OpenContext& context) const override {
    REQUIRE_FALSE(context.segments.empty());
    return std::make_unique<State>(context.segments);
  }
  void step(std::span<StepItem> items) const override {
    for (StepItem& item : items) {
      State& state = dynamic_cast<State&>(*item.state);
      while (item.io->available(0) > 0)
        state.segments.add(bytes_of(std::to_string(number_of(item.io->take(0))) + "\n"));
      item.status = StepStatus::need_input;
      if (!item.io->ended(0)) continue;
      std::ofstream file(out_, std::ios::binary);
      for (std::size_t i = 0; i < state.segments.size(); ++i) {
        const std::vector<std::byte> bytes = state.segments.read(i);
        file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
      }
      item.status = StepStatus::done;
    }
  }

 private:
  std::filesystem::path out_;
};

PlanBuilder keeping_plan(const std::filesystem::path& out) {
  PlanBuilder plan("keeping");
  const int in = plan.feed("in");
  StageSpec spec = stub_spec("keep", 1, 0, StageLoad::blocking);
  spec.sink_of = "event";
  const int keep = plan.add("keep", spec, std::make_shared<Keeping>(out));
  plan.link(in, 0, keep, 0);
  return plan;
}

exec::ExecutorsOptions with_payloads() {
  static const Registry registry = [] {
    Registry made;
    builtin::register_payloads(made);
    return made;
  }();
  exec::ExecutorsOptions options;
  options.registry = &registry;
  return options;
}

std::string slurp(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    INFO(error.what());
    return error.code();
  }
  FAIL_CHECK("nothing was thrown");
  return ErrorCode::internal;
}

}  // namespace

TEST_CASE("other runs go on while one is being saved", "[unit]") {
  const Folder folder;
  exec::Executors executors(with_payloads());
  const auto slow = std::make_shared<Slow>();
  const PlanBuilder saved_plan = slow_plan(slow);
  auto saved = executors.create(saved_plan.plan(), saved_plan.stages(), {});
  saved->start();
  saved->pause();
  std::thread saver([&] { saved->checkpoint(folder.path / "run"); });
  slow->gate.wait_until_reached();
  // A whole other run, from its making to its end, while the first stands in save().
  PlanBuilder plan("other");
  const int a = plan.add("count", stub_spec("count", 0, 1), counting_stage(100));
  const int out = plan.read("out");
  plan.link(a, 0, out, 0);
  auto other = executors.create(plan.plan(), plan.stages(), {});
  other->start();
  int n = 0;
  while (const auto packet = other->read("out", kLong)) {
    if (packet->ends_stream()) break;
    ++n;
  }
  other->wait();
  CHECK(n == 100);
  slow->gate.open();
  saver.join();
  CHECK_NOTHROW(read_checkpoint(folder.path / "run"));
}

TEST_CASE("a run that is cancelled while it is saved keeps its states until that is over", "[unit]") {
  const Folder folder;
  exec::Executors executors(with_payloads());
  const auto slow = std::make_shared<Slow>();
  const PlanBuilder plan = slow_plan(slow);
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->pause();
  std::thread saver([&] { run->checkpoint(folder.path / "run"); });
  slow->gate.wait_until_reached();
  run->cancel();
  // Something else for the workers to do, so that they have been where they would destroy the state.
  PlanBuilder busy("busy");
  busy.add("count", stub_spec("count", 0, 0), std::make_shared<StubStage>([](StubState& state, StageIo&) {
             return ++state.counter < 100 ? StepStatus::ready : StepStatus::done;
           }));
  auto other = executors.create(busy.plan(), busy.stages(), {});
  other->start();
  other->wait();
  CHECK(slow->alive == 1);
  slow->gate.open();
  saver.join();
  CHECK(run->state() == RunState::cancelled);
  CHECK_THROWS_AS(run->wait(), Error);
  CHECK(slow->alive == 0);
}

TEST_CASE("a saved run goes on from its segments, and a finished one leaves a note of that", "[unit]") {
  const Folder folder;
  const std::filesystem::path file = folder.path / "run", out = folder.path / "out";
  RunOptions options;
  options.checkpoint = file;
  options.seed = 7;
  options.priority = Priority::background;
  options.strict = true;
  const PlanBuilder plan = keeping_plan(out);
  {
    exec::Executors executors(with_payloads());
    auto run = executors.create(plan.plan(), plan.stages(), options);
    run->start();
    for (int i = 0; i < 5; ++i) REQUIRE(run->feed("in", number(i)));
    while (run->metrics().at("keep").packets_in < 5) std::this_thread::yield();
    run->pause();
    run->checkpoint(file);
    // One process at a time.
    CHECK(code_of([&] { executors.resume(plan.plan(), plan.stages(), file, options); }) == ErrorCode::config);
    run->resume();
    for (int i = 5; i < 8; ++i) REQUIRE(run->feed("in", number(i)));  // lost: they come after the last checkpoint
  }
  CHECK(folder.names() == std::vector<std::string>{"run", "run.parts"});
  const Checkpoint saved = read_checkpoint(file);
  CHECK_FALSE(saved.finished);
  CHECK(saved.run.seed == 7);
  CHECK(saved.run.priority == Priority::background);
  CHECK(saved.run.strict);
  {
    exec::Executors executors(with_payloads());
    RunOptions again;
    again.checkpoint = file;
    auto run = executors.resume(plan.plan(), plan.stages(), file, again);
    run->start();
    for (int i = 5; i < 10; ++i) REQUIRE(run->feed("in", number(i)));
    run->end_input("in");
    run->wait();
    CHECK(slurp(out) == "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    CHECK(folder.names() == std::vector<std::string>{"out", "run"});
    CHECK(read_checkpoint(file).finished);
    CHECK(code_of([&] { executors.resume(plan.plan(), plan.stages(), file, again); }) == ErrorCode::config);
  }
}

TEST_CASE("segments that are gone or damaged are named", "[unit]") {
  const Folder folder;
  exec::SegmentFiles segments(folder.path / "kept");
  segments.add(bytes_of("first"));
  segments.add(bytes_of("second"));
  std::vector<std::byte> saved;
  wire::Writer writer(saved);
  segments.save(writer);
  const auto restored = [&] {
    exec::SegmentFiles again(folder.path / "kept");
    wire::Reader reader(saved, "test");
    again.restore(reader);
    return again.read(1);
  };
  CHECK(restored() == bytes_of("second"));
  const std::filesystem::path second = folder.path / "kept" / "000001.segment";
  std::ofstream(second) << "sEcond";
  CHECK(code_of([&] { restored(); }) == ErrorCode::format);
  std::ofstream(second) << "sec";
  CHECK(code_of([&] { restored(); }) == ErrorCode::format);
  std::filesystem::remove(second);
  CHECK(code_of([&] { restored(); }) == ErrorCode::format);
}

TEST_CASE("a checkpoint that is cut short or changed anywhere is refused by name", "[unit]") {
  const Folder folder;
  const std::filesystem::path file = folder.path / "run";
  exec::Executors executors(with_payloads());
  PlanBuilder plan("pipe");
  const int in = plan.feed("in");
  const int keep =
      plan.add("keep", stub_spec("keep", 1, 0), collecting_stage(std::make_shared<std::vector<std::int64_t>>()));
  plan.link(in, 0, keep, 0);
  auto run = executors.create(plan.plan(), plan.stages(), {});
  run->start();
  run->pause();
  run->feed("in", number(3));
  run->checkpoint(file);
  const std::string whole = slurp(file);
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
    for (const auto& action : std::vector<std::function<void()>>{
             [&] { read_checkpoint(file); }, [&] { executors.resume(plan.plan(), plan.stages(), file, {}); }}) {
      try {
        action();
        FAIL_CHECK("it was taken");
      } catch (const Error& error) {
        CHECK((error.code() == ErrorCode::format || error.code() == ErrorCode::config));
        CHECK(error.where() == file.string());
      }
    }
  };
  for (std::size_t n = 0; n < whole.size(); n += 7) {
    INFO("the first " << n << " of " << whole.size() << " bytes");
    refused(whole.substr(0, n));
  }
  for (std::size_t i = 0; i < whole.size(); i += 5) {
    INFO("with another byte " << i);
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    refused(changed);
  }
  refused(whole + "x");
  std::ofstream(file, std::ios::binary) << whole;
  CHECK_NOTHROW(executors.resume(plan.plan(), plan.stages(), file, {}));
  std::filesystem::remove(file);
  CHECK(code_of([&] { read_checkpoint(file); }) == ErrorCode::config);
  CHECK(code_of([&] { read_checkpoint(folder.path); }) == ErrorCode::config);
}
