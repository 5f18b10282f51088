// Stage: the unit of a pipeline. A StageSpec declares it once (ports, formats, parameters, costs); checking,
// planning, command help, studio forms, Python docs and generic tests are all drawn from the spec.
// How a stage runs is in step.h.
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
#include "morph/step.h"
#include "morph/value.h"

namespace morph {

class ModelStore;
class StageMemory;
struct DeviceInfo;

// ---------------------------------------------------------------------------------------------- declaration

struct PortSpec {
  std::string name;
  std::vector<FormatPattern> formats;  ///< inputs: what is accepted; outputs: what is offered, preferred first
  std::string help;
  bool optional = false;  ///< inputs only: the stage runs without it
};

enum class ParamType : std::uint8_t { boolean, integer, number, string, path, list };

/// What a parameter belongs to. `load`: it tells loaded stages apart (model, precision, number of cache positions) and
/// reaches create(). `run`: it reaches open(); runs that differ in it share the stage, its weights and its batches.
enum class ParamScope : std::uint8_t { load, run };

struct ParamSpec {
  std::string name;
  ParamType type = ParamType::string;
  Value default_value;  ///< monostate: none
  std::string help;
  std::optional<double> min{}, max{};
  std::vector<std::string> choices{};
  bool required = false;
  ParamScope scope = ParamScope::load;
  /// Run parameters only: Run::set_params may change it between two steps; the stage gets kParamsChanged.
  bool changeable = false;
};

/// Text as a parameter's value: "true", "16000", "0.5", "a,b" (a list). Throws Error{config} that says what was
/// expected. For command lines and forms; documents hold typed values.
Value parse_value(ParamType type, std::string_view text);
std::string_view to_string(ParamType type);  ///< "boolean", "integer", ...

/// Memory in bytes on the stage's device, and how long one step may take at worst. The planner adds up
/// `weights` once per distinct `weights_key` and `runtime` once per distinct `runtime_key` in the process.
struct Estimate {
  std::uint64_t weights = 0;
  std::string weights_key;    ///< same key = same loaded model, counted once
  std::uint64_t session = 0;  ///< per open state
  std::uint64_t scratch = 0;  ///< while stepping
  /// Scratch is the loaded stage's: taken once, from loading on, however many runs there are.
  bool scratch_shared = false;
  /// Sessions come out of one pool that the stage keeps, which has room for one from loading on and is grown with
  /// StageMemory::keep_pool.
  bool session_pooled = false;
  /// Weights are leased for a step (StageMemory::lease): of all that are leased on a device the plan counts the
  /// largest.
  bool weights_leased = false;
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

/// What a stage may use while it is created (weights are loaded here, before the run starts).
struct CreateContext {
  const Params& params;  ///< those of scope `load`, complete; the others differ from run to run
  std::span<const Format* const> inputs;
  std::span<const Format* const> outputs;  ///< null for an output nobody reads
  std::function<std::filesystem::path(const std::string& model)> find_model;
  ModelStore& models;                                                    ///< process-wide: same key, same model
  std::string device;                                                    ///< "cpu", "cuda:0", "npu", ...
  int n_threads = 1;                                                     ///< threads a step of this stage may use
  std::string where;                                                     ///< "pipeline/stage", for errors
  std::function<void(double fraction, std::string_view what)> progress;  ///< loading progress; never null
  /// For what the stage takes after it is loaded (memory.h); null where nobody keeps books (tests of a stage alone).
  std::shared_ptr<StageMemory> memory{};
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

}  // namespace morph
