// Stage: the unit of a pipeline. A StageSpec declares it once (ports, formats, parameters, costs); checking,
// planning, command help, studio forms, Python docs and generic tests are all drawn from the spec.
//
// A Stage is const and shared by all runs; each run opens a StageState. step() advances a set of states (possibly of
// different runs) that share a batch key. It sees ports only through StageIo and never touches threads or queues:
// when, where and how many are the scheduler's business. Readiness is a return value, as in ClickHouse's IProcessor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "morph/format.h"
#include "morph/packet.h"
#include "morph/value.h"

namespace morph {

class ModelStore;
struct DeviceInfo;

// ---------------------------------------------------------------------------------------------- declaration

struct PortSpec {
  std::string name;
  std::vector<FormatPattern> formats;  ///< inputs: what is accepted; outputs: what is offered, preferred first
  std::string help;
  bool optional = false;  ///< inputs only: the stage runs without it
};

enum class ParamType : std::uint8_t { boolean, integer, number, string, path, list };

struct ParamSpec {
  std::string name;
  ParamType type = ParamType::string;
  Value default_value;  ///< monostate: none
  std::string help;
  std::optional<double> min{}, max{};
  std::vector<std::string> choices{};
  bool required = false;
};

/// Text as a parameter's value: "true", "16000", "0.5", "a,b" (a list). Throws Error{config} that says what was
/// expected. For command lines and forms; documents hold typed values.
Value parse_value(ParamType type, std::string_view text);
std::string_view to_string(ParamType type);  ///< "boolean", "integer", ...

/// Memory in bytes on the stage's device, and how long one step may take at worst. The planner adds up
/// `weights` once per distinct `weights_key` and `runtime` once per distinct `runtime_key` in the process.
struct Estimate {
  std::uint64_t weights = 0;
  std::string weights_key;      ///< same key = same loaded model, counted once
  std::uint64_t session = 0;    ///< per open state
  std::uint64_t scratch = 0;    ///< while stepping
  std::uint64_t load_peak = 0;  ///< extra while loading, gone afterwards
  std::uint64_t runtime = 0;    ///< one-off cost of a library (e.g. OpenVINO) beyond the bare process
  std::string runtime_key;
  std::uint64_t packet_bytes = 0;  ///< a typical packet on an output; 0 = a few KB
  double longest_step_ms = 1.0;
};

/// How much of the thread budget a step takes. `light` steps are short (about a millisecond) and use their own worker
/// thread only; a `heavy` step gets the whole budget to itself, so libraries' thread pools never fight; a `blocking`
/// stage may sleep in the operating system (files, pipes) and gets a thread of its own, outside the budget.
enum class StageLoad : std::uint8_t { light, heavy, blocking };

/// How much a source will deliver, as far as a look at it before the run tells.
struct SourceSize {
  std::uint64_t bytes = 0;             ///< decoded, as its packets will hold it; 0: unknown
  std::vector<std::uint64_t> extents;  ///< of the one thing it delivers, in its modality's order (width, height)
};

/// What is known when output formats and costs are worked out: parameters with defaults filled in, and the formats
/// chosen for connected inputs (null for an optional port that is not connected).
struct ResolveContext {
  const Params& params;
  std::span<const Format* const> inputs;
  /// Folder of a model by name or path; throws Error{weights} that says how to fetch it.
  std::function<std::filesystem::path(const std::string& model)> find_model;
  std::string device = "cpu";  ///< executor chosen for the stage
  /// What the sources upstream hold (SourceSize, summed; extents of the largest), where that is known before the run
  /// and their format reaches the stage unchanged in kind (text for a text stage); else 0 and none. For estimates only.
  std::uint64_t source_bytes = 0;
  std::span<const std::uint64_t> source_extents{};
  int n_threads = 1;  ///< threads a heavy step may use: part of what tells loaded models apart
};

class Stage;

/// What a stage may use while it is created (weights are loaded here, before the run starts).
struct CreateContext {
  const Params& params;
  std::span<const Format* const> inputs;
  std::span<const Format* const> outputs;  ///< null for an output nobody reads
  std::function<std::filesystem::path(const std::string& model)> find_model;
  ModelStore& models;                                                    ///< process-wide: same key, same model
  std::string device;                                                    ///< "cpu", "cuda:0", "npu", ...
  int n_threads = 1;                                                     ///< threads a step of this stage may use
  std::string where;                                                     ///< "pipeline/stage", for errors
  std::function<void(double fraction, std::string_view what)> progress;  ///< loading progress; never null
};

struct StageSpec {
  std::string name;  ///< "<modality>/<verb or noun>": "audio/resample"
  std::string help;  ///< one line; first sentence is shown in lists
  std::vector<PortSpec> inputs;
  std::vector<PortSpec> outputs;
  std::vector<ParamSpec> params;

  StageLoad load = StageLoad::light;
  int max_batch = 1;                    ///< most states stepped together
  bool converter = false;               ///< may be inserted between two ports that do not agree (one in, one out)
  std::string source_of{};              ///< modality this reads from a file: the command picks sources by it
  std::string sink_of{};                ///< modality this writes to a file
  std::vector<std::string> suffixes{};  ///< sources and sinks: file suffixes, lower case with the dot
  bool live = false;                    ///< sinks that may lose packets (previews, live devices): lossy links are legal
  bool checkpointable = false;          ///< StageState::save / restore work
  std::vector<std::string> devices{"cpu"};  ///< device kinds it can run on

  /// Output formats for given inputs and parameters, one list per output port in order of preference. When absent the
  /// ports' own lists are used. May probe a file header; never reads weights. Throws Error.
  std::function<std::vector<std::vector<FormatPattern>>(const ResolveContext&)> resolve{};
  /// Sources: what will be read. When absent: the bytes of the parameter `text`, or of the file `path`. Reads a header
  /// at most; what cannot be told is left unknown, never an error.
  std::function<SourceSize(const Params&)> measure{};
  /// Costs. When absent: nothing but a few KB.
  std::function<Estimate(const ResolveContext&)> estimate{};
  /// Checks that need more than one parameter. Appends to the diagnostics.
  std::function<void(const Params&, std::vector<Diagnostic>&)> validate{};
  /// Loads what is needed and returns the stage. Required.
  std::function<std::shared_ptr<const Stage>(const CreateContext&)> create{};

  int input_index(std::string_view port) const;   ///< -1 when there is none
  int output_index(std::string_view port) const;  ///< -1 when there is none
};

// ------------------------------------------------------------------------------------------------ execution

enum class StepStatus : std::uint8_t {
  need_input,   ///< nothing to do until an input port has more (or ends)
  output_full,  ///< nothing to do until an output port has room
  ready,        ///< did something, call again
  waiting,      ///< waits for something outside the pipeline; StageIo::waker() wakes it
  done,         ///< finished: all outputs end
};

/// A message on the control channel, which runs against the links: "interrupted", "played_to", ...
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
  virtual bool cancelled() const = 0;         ///< long steps ask between parts
  virtual std::function<void()> waker() = 0;  ///< callable from any thread, also after the run ended
  virtual StreamTime clock() const = 0;       ///< time since the run started (a test may fake it); for live pacing only
  virtual std::uint64_t seed() const = 0;     ///< seed of this run for this stage
  virtual void progress(double fraction, std::string_view what) = 0;
  virtual void metric(std::string_view name, double value) = 0;  ///< counters and timings; summed per stage
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
  /// For checkpointable stages.
  virtual std::vector<std::byte> save() const { return {}; }
  virtual void restore(std::span<const std::byte> /*saved*/) {}
};

struct OpenContext {
  std::uint64_t seed = 0;
  std::string where;  ///< "pipeline/stage", for errors
};

/// One state of a step's set; step() sets `status`.
struct StepItem {
  StageState* state = nullptr;
  StageIo* io = nullptr;
  StepStatus status = StepStatus::need_input;
};

/// Immutable, shared by every run that uses the same stage with the same parameters. Thread-safe.
class Stage {
 public:
  virtual ~Stage() = default;
  virtual std::unique_ptr<StageState> open(const OpenContext& context) const = 0;
  /// States whose keys are equal may be stepped together.
  virtual std::uint64_t batch_key(const StageState&) const { return 0; }
  /// Advances each item by a bounded amount of work. Throws Error when the run(s) cannot go on; a stage that can
  /// tell which item failed sets nothing and throws only for that batch of one (the scheduler retries singly).
  virtual void step(std::span<StepItem> batch) const = 0;
};

/// A stage whose states are stepped one by one; State derives from StageState.
template <class State>
class SimpleStage : public Stage {
 public:
  void step(std::span<StepItem> batch) const final {
    for (StepItem& item : batch) item.status = step_one(static_cast<State&>(*item.state), *item.io);
  }
  virtual StepStatus step_one(State& state, StageIo& io) const = 0;
};

}  // namespace morph
