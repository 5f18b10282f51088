// Stub stages: small stages over numbers, for tests of the scheduler, the executor and the planner. Values travel as
// EventPayload "n" with one integer.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "morph/registry.h"
#include "morph/stage.h"

namespace morph::testing {

Packet number(std::int64_t value, StreamTime time = StreamTime{0});
/// Throws Error{internal} when the packet holds no number.
std::int64_t number_of(const Packet& packet);

/// State of every stub: a counter, kept numbers and what flush() was told. save() and restore() cover all of it.
class StubState final : public StageState {
 public:
  std::int64_t counter = 0;
  std::vector<std::int64_t> kept;
  std::vector<std::uint64_t> flushed;
  std::shared_ptr<std::atomic<int>> alive{};  ///< counts living states when set
  ~StubState() override;

  void flush(std::uint64_t epoch) override { flushed.push_back(epoch); }
  std::vector<std::byte> save() const override;
  void restore(std::span<const std::byte> saved) override;
};

/// A stage made of functions. `step` is required unless `batch` is given.
class StubStage final : public Stage {
 public:
  std::function<StepStatus(StubState&, StageIo&)> one;
  std::function<void(std::span<StepItem>)> batch;
  std::function<std::uint64_t(const StubState&)> key;
  std::shared_ptr<std::atomic<int>> alive;

  explicit StubStage(std::function<StepStatus(StubState&, StageIo&)> step) : one(std::move(step)) {}
  std::unique_ptr<StageState> open(const OpenContext& context) const override;
  std::uint64_t batch_key(const StageState& state) const override;
  void step(std::span<StepItem> items) const override;
};

/// A spec with ports "in0", "in1", ... and "out0", ... of events; checkpointable.
StageSpec stub_spec(const std::string& name, int n_inputs, int n_outputs, StageLoad load = StageLoad::light);

/// Sends first, first + 1, ... (`count` numbers), `per_step` in a step, respecting space().
std::shared_ptr<StubStage> counting_stage(std::int64_t count, std::int64_t first = 0, int per_step = 1);
/// Sends change(x) for every number x.
std::shared_ptr<StubStage> mapping_stage(std::function<std::int64_t(std::int64_t)> change);
/// Takes one number from every input and sends combine(numbers); done when any input ended.
std::shared_ptr<StubStage> joining_stage(std::function<std::int64_t(const std::vector<std::int64_t>&)> combine);
/// Sends what it takes to output 0 and output 1 in turn.
std::shared_ptr<StubStage> splitting_stage();
/// Appends every number it takes to `into` (one thread at a time: the stage's).
std::shared_ptr<StubStage> collecting_stage(std::shared_ptr<std::vector<std::int64_t>> into);

/// Registers "test/count" (param count), "test/add" (param add), "test/fail" (param at), "test/join", "test/split",
/// "test/batch" (heavy, batches of 4) and "test/collect", for programs that fill a registry of their own.
void register_stubs(Registry& registry);

}  // namespace morph::testing
