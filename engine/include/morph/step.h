// Steps: how a stage runs. A Stage is const and shared by all runs; each run opens a StageState with what belongs to it
// (OpenContext). step() advances a set of states (possibly of different runs) that share a batch key. It sees ports
// only through StageIo and never touches threads or queues: when, where and how many are the scheduler's business.
// Readiness is a return value, as in ClickHouse's IProcessor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "morph/attachment.h"
#include "morph/error.h"
#include "morph/packet.h"
#include "morph/run_result.h"
#include "morph/value.h"

namespace morph {

enum class StepStatus : std::uint8_t {
  need_input,   ///< nothing to do until an input port has more (or ends)
  output_full,  ///< nothing to do until an output port has room
  ready,        ///< did something, call again
  waiting,      ///< waits for something outside the pipeline; StageIo::waker() wakes it
  done,         ///< finished: all outputs end
};

/// Name of the control event that carries run parameters that changed (Run::set_params); `values` holds the new ones.
inline constexpr std::string_view kParamsChanged = "params";

/// A message on the control channel, which runs against the links: "interrupted", "played_to", ... A modality keeps its
/// words in one header (morph/turn_protocol.h).
struct ControlEvent {
  std::string name;
  std::uint64_t epoch = 0;
  StreamTime time{0};
  Params values;
};

/// A stage's view of its ports during one step. Only valid inside step(); not thread-safe (one step, one thread).
/// Ports are indices into StageSpec::inputs / outputs.
class StageIo {
 public:
  virtual ~StageIo() = default;

  // Inputs. End-of-stream is not a packet here: ended() says the port has delivered all it ever will.
  // An upstream error or cancel never reaches step(): the scheduler ends the run.
  virtual bool connected_input(int port) const = 0;
  virtual std::size_t available(int port) const = 0;  ///< packets that take() can return (data, revise)
  virtual const Packet& peek(int port, std::size_t index = 0) const = 0;
  virtual Packet take(int port) = 0;
  virtual bool ended(int port) const = 0;  ///< no packet left and none will come (true for unconnected)

  // Outputs. push() beyond space() is allowed for the packets of one step (the queue grows, then blocks).
  virtual bool connected_output(int port) const = 0;
  virtual std::size_t space(int port) const = 0;
  /// Sends a packet and returns its sequence number. kind may be data, revise or flush. A data packet's epoch is
  /// set to the state's current epoch unless it is already larger.
  virtual std::uint64_t push(int port, Packet packet) = 0;

  // Control channel: to every stage upstream of this one that asks next_control().
  virtual void send_control(ControlEvent event) = 0;
  virtual std::optional<ControlEvent> next_control() = 0;

  // Run services.
  virtual bool cancelled() const = 0;  ///< long steps ask between parts
  /// True when a step of a more urgent run waits for the worker that steps this one. A long step asks between its parts
  /// and, when it can, keeps what it has done and answers `ready` early. Cheap: one atomic read.
  virtual bool should_yield() const = 0;
  virtual std::function<void()> waker() = 0;  ///< callable from any thread, also after the run ended
  virtual StreamTime clock() const = 0;       ///< time since the run started (a test may fake it); for live pacing only
  virtual std::uint64_t seed() const = 0;     ///< seed of this run for this stage
  virtual void progress(double fraction, std::string_view what) = 0;
  virtual void metric(std::string_view name, double value) = 0;  ///< counters and timings; summed per stage
  // How it ended (Run::result): why generating stopped, and what is missing from what was asked for.
  virtual void finished(FinishReason reason) = 0;
  virtual void lost(Loss loss, std::string_view what, std::uint64_t count = 1) = 0;
};

/// What a run of a stage remembers between steps.
class StageState {
 public:
  virtual ~StageState() = default;
  /// A flush reached an input (or this stage pushed one): drop unfinished work of epochs below `epoch`. Flush packets
  /// never show up in take(): when a stage pushes one, the scheduler at once drops older packets queued on every link
  /// that its port leads to, over any number of stages, and calls this between two steps of each of those stages (right
  /// before a step). What a step that is running meanwhile still sends of older epochs is dropped too. Links that the
  /// port does not lead to (another source's) keep their packets.
  virtual void flush(std::uint64_t /*epoch*/) {}
  /// The same, and by which input it came; -1: this stage pushed it. Epochs are numbered by whoever flushes, so a stage
  /// that joins several streams overrides this one and drops the work of that input alone. Where two streams meet, what
  /// the stage sends has epochs of its own, which every flush of either raises.
  virtual void flush_input(int /*input*/, std::uint64_t epoch) { flush(epoch); }
  /// For checkpointable stages, between two steps: all that the steps to come depend on (with exec/wire.h), so that a
  /// state that was opened for the same run, also in another process, and given it goes on with the same results.
  /// save() may be called from any thread, while other runs are stepped. restore() throws Error{format} for damaged
  /// bytes.
  virtual std::vector<std::byte> save() const { return {}; }
  virtual void restore(std::span<const std::byte> /*saved*/) {}
};

/// Deadline class of a run. Ready steps of a higher class always go first; within a class the earlier deadline, then
/// nearest to the sinks first.
enum class Priority : std::uint8_t { background, normal, interactive, realtime };

/// What a run tells a stage when it opens its state.
struct OpenContext {
  std::uint64_t seed = 0;
  std::string where{};  ///< "pipeline/stage", for errors
  Params params{};      ///< complete: load and run, in range as the spec says
  bool strict = false;  ///< results may not depend on batch mates, nor on when packets arrive
  Priority priority = Priority::normal;
  StreamTime deadline{0};  ///< since the run's start; 0: none
  std::string stage{};     ///< the node's name
  Attachments attachments{};
  /// Of a run that is saved: a folder for what a sink has made so far, which it makes when it needs it (see
  /// morph/checkpoint.h); else empty.
  std::filesystem::path segments{};

  /// What the application gave this stage, by its name or by the stage's own `key`; null: nothing. Throws Error{config}
  /// when it is no T.
  template <class T>
  std::shared_ptr<T> attachment(const std::string& key) const {
    auto found = attachments.find(stage);
    if (found == attachments.end()) found = attachments.find(key);
    if (found == attachments.end() || !found->second) return nullptr;
    auto typed = std::dynamic_pointer_cast<T>(found->second);
    if (!typed)
      throw Error(ErrorCode::config, where + "/" + key,
                  "expected another kind of attachment than \"" + found->first + "\" is");
    return typed;
  }
};

/// One state of a step's set; step() sets `status`, or `error` for what ends this item's run and no other.
struct StepItem {
  StageState* state = nullptr;
  StageIo* io = nullptr;
  StepStatus status = StepStatus::need_input;
  std::shared_ptr<const Error> error{};  ///< what the step sent is then dropped and its run fails

  void fail(const Error& why) { error = std::make_shared<const Error>(why); }
};

/// Immutable, shared by every run that uses the same stage with the same parameters. Thread-safe.
class Stage {
 public:
  virtual ~Stage() = default;
  virtual std::unique_ptr<StageState> open(const OpenContext& context) const = 0;
  /// States whose keys are equal may be stepped together.
  virtual std::uint64_t batch_key(const StageState&) const { return 0; }
  /// Advances each item by a bounded amount of work. An item that fails says so in its `error`. Throwing is for a batch
  /// of one, or for before any state was touched: of a batch that throws, items whose ports nobody looked into are
  /// stepped again one by one, and the runs of all others end with what was thrown, since no state is stepped twice.
  virtual void step(std::span<StepItem> batch) const = 0;
};

/// A stage whose states are stepped one by one; State derives from StageState.
template <class State>
class SimpleStage : public Stage {
 public:
  void step(std::span<StepItem> batch) const final {
    for (StepItem& item : batch) {
      try {
        item.status = step_one(static_cast<State&>(*item.state), *item.io);
      } catch (const Error& error) {  // an edge: a failed item ends its own run only
        if (batch.size() == 1) throw;
        item.fail(error);
      }
    }
  }
  virtual StepStatus step_one(State& state, StageIo& io) const = 0;
};

}  // namespace morph
