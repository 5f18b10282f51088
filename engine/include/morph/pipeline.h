// Pipeline documents and their compilation: parse, validate (every diagnostic), nest, negotiate formats, insert
// converters, cull what nobody reads, plan memory. All of it before any weight is read.
//
// A pipeline document is JSON (pipelines/schema.json):
//   { "morph": 1, "name": "audio-to-text/transcribe", "help": "...", "default": true,
//     "inputs":  { "audio": { "type": "audio", "to": "hear.audio", "help": "..." , "optional": false } },
//     "outputs": { "text":  { "type": "text", "from": "hear.text" } },
//     "params":  { "model": { "to": ["hear.model"], "default": "whisper-base", "help": "..." } },
//     "stages":  { "hear": { "stage": "audio/transcribe", "params": { ... }, "executor": "cpu" },
//                  "sub":  { "pipeline": "text-to-text/chat", "params": { ... } } },
//     "links":   [ "a.out -> b.in", { "from": "b.out", "to": "c.in", "queue": 8, "policy": "block" } ] }
// A nested pipeline's inputs and outputs are its ports. An input or output of the outermost pipeline is bound by its
// user: to a source or sink stage, or to Run::feed / Run::read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "morph/error.h"
#include "morph/format.h"
#include "morph/stage.h"
#include "morph/value.h"

namespace morph {

class Registry;

enum class QueuePolicy : std::uint8_t { block, drop_oldest, latest };
std::string_view to_string(QueuePolicy policy);

struct PipelinePort {
  std::string name;
  std::string type;                    ///< modality: "audio", "text", "image", ...
  std::vector<std::string> endpoints;  ///< "stage.port": one for an output, one or more for an input
  std::string help;
  bool optional = false;
};

struct PipelineParam {
  std::string name;
  std::vector<std::string> targets;  ///< "stage.param"
  Value default_value;               ///< monostate: the stage's own default
  std::string help;
};

struct PipelineStage {
  std::string name;
  std::string stage;     ///< stage type, or empty for a nested pipeline
  std::string pipeline;  ///< nested pipeline's name, or empty
  Params params;
  std::string executor;  ///< empty: the planner chooses
};

struct PipelineLink {
  std::string from, to;   ///< "stage.port"
  std::size_t queue = 0;  ///< packets; 0: default (8)
  QueuePolicy policy = QueuePolicy::block;
  bool delay = false;  ///< a declared feedback edge; its first packet is the port's initial value
};

/// A parsed document. A plain value; edit it freely, then compile.
struct Pipeline {
  std::string name;
  std::string help;
  bool is_default = false;  ///< the command's choice for its input and output modalities
  std::vector<PipelinePort> inputs, outputs;
  std::vector<PipelineParam> params;
  std::vector<PipelineStage> stages;
  std::vector<PipelineLink> links;
  std::filesystem::path file;  ///< where it came from; empty for one made in memory
};

/// Parses a document; collects all syntax findings and throws one Error{pipeline} listing them with line or JSON path.
Pipeline parse_pipeline(std::string_view json, const std::string& where);
Pipeline load_pipeline(const std::filesystem::path& file);
/// The document as JSON (round-trips with parse_pipeline).
std::string to_json(const Pipeline& pipeline);

/// Finds pipelines by name ("audio-to-text/transcribe") in folders.
class PipelineLibrary {
 public:
  explicit PipelineLibrary(std::vector<std::filesystem::path> folders) : folders_(std::move(folders)) {}
  /// A path to a file, or a name. Throws Error{pipeline} with the nearest names.
  Pipeline find(const std::string& name_or_path) const;
  /// The pipeline of this name and no other file. Throws Error{pipeline} with the nearest names.
  Pipeline find_name(const std::string& name) const;
  /// Every pipeline of the folders, by name; a file that does not parse is logged and left out, `presets/` too.
  std::vector<Pipeline> all() const;

 private:
  std::vector<std::filesystem::path> folders_;
};

/// What a pipeline's own parameters are: each with the type, range and choices of the first stage parameter it sets,
/// and the document's name, default and help. One whose target does not exist is left out (compile() reports it).
std::vector<ParamSpec> pipeline_params(const Pipeline& pipeline, const Registry& registry,
                                       const PipelineLibrary& library);

/// Binds an outer input or output to a source or sink stage. The node is named "in.<port>" or "out.<port>".
struct Binding {
  std::string port;   ///< name of the pipeline's input or output
  std::string stage;  ///< stage type, e.g. "audio/read"
  Params params;
};

struct CompileOptions {
  std::vector<Binding> bindings;
  std::map<std::string, Value> params;  ///< pipeline params by name, or "stage.param"
  /// "" = planner's choice; else an id or kind: light and blocking stages that cannot use it stay on the CPU, a heavy
  /// one is an error that names it unless the document gives it an `executor` of its own.
  std::string device;
  std::uint64_t memory_budget = 0;  ///< bytes for the whole process; 0 = no limit but the machine's
  int n_threads = 0;                ///< 0 = the engine's budget
  /// What Run::feed will send, by unbound input. Default: the first format the input accepts. An optional input is fed
  /// only when it is named here.
  std::map<std::string, Format> feed_formats;
  std::vector<std::string> unread;  ///< outputs that nobody will read; what only they need is culled
};

/// One node of the compiled graph.
struct PlanNode {
  std::string name;                 ///< unique among stages; nested ones are "outer/inner", converters "resample#1"
  const StageSpec* spec = nullptr;  ///< null for app_feed and app_read
  Params params;                    ///< complete, defaults filled in
  std::string device = "cpu";
  bool inserted = false;                               ///< a converter that negotiation put there
  std::vector<std::optional<Format>> inputs, outputs;  ///< by port index; nothing = not connected
  Estimate estimate;
  SourceSize source;                        ///< what its estimate is told of the sources upstream
  bool app_feed = false, app_read = false;  ///< stands for Run::feed / Run::read of port `name`
};

struct PlanLink {
  int from_node = 0, from_port = 0, to_node = 0, to_port = 0;
  Format format;
  std::size_t queue = 8;
  QueuePolicy policy = QueuePolicy::block;
  bool delay = false;
  /// Most bytes of payloads that wait on it; a packet that is larger than all of it travels alone.
  std::uint64_t bytes = std::uint64_t{64} << 20;
};

/// A parameter of a stage of the plan, by the node's name.
struct ParamTarget {
  std::string node, param;
};

struct MemoryPlan {
  std::uint64_t process = 0, runtimes = 0, weights = 0, sessions = 0, scratch = 0, links = 0;
  std::uint64_t load_peak = 0;
  std::uint64_t budget = 0;                        ///< the limit that was held against it
  std::map<std::string, std::uint64_t> by_device;  ///< bytes on devices with a memory of their own, without "cpu"
  std::uint64_t held = 0;         ///< of the total, what is in memory already: the process, and what is loaded
  std::uint64_t others = 0;       ///< booked on the host beside this plan when it was compiled
  std::uint64_t others_idle = 0;  ///< of them, what nobody uses: it goes when the room is needed
  /// Predicted peak resident bytes of the process: the larger of loading and running.
  std::uint64_t total() const;
};

/// The compiled graph: nodes in topological order. Immutable.
struct Plan {
  std::string name;
  Pipeline source;
  CompileOptions options;
  std::vector<PlanNode> nodes;
  std::vector<PlanLink> links;
  std::vector<std::string> culled;  ///< stages nobody reads
  /// What each of the pipeline's own parameters sets, nested ones resolved (RunOptions::params).
  std::map<std::string, std::vector<ParamTarget>> params;
  MemoryPlan memory;
  int n_threads = 1;              ///< what a heavy step may use
  std::vector<Diagnostic> notes;  ///< warnings and notes of the compilation
};

/// What compile() found. `plan` is null when there is any error.
struct CompileResult {
  std::shared_ptr<const Plan> plan;
  std::vector<Diagnostic> diagnostics;
};

/// The compiled graph as text for a terminal, as Graphviz DOT and as JSON.
std::string explain_text(const Plan& plan);
std::string explain_dot(const Plan& plan);
std::string explain_json(const Plan& plan);

}  // namespace morph
