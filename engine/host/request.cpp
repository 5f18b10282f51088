// A request from its inputs to its result. See morph/request.h.
#include "morph/request.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "morph/provenance.h"
#include "morph/scratch_folder.h"

namespace morph {
namespace {

using std::chrono::milliseconds;

/// A request that is compiled, with what must live as long as its run.
struct Prepared {
  Pipeline pipeline;
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<ScratchFolder> scratch;  ///< holds the file whose bytes are asked for
  std::string file;                        ///< what the sink writes; empty for standard output and values
  std::map<std::string, std::vector<Packet>> feeds;
  std::vector<Diagnostic> notes;
};

std::string written_path(const Engine& engine, const RequestOutput& output, Prepared& prepared) {
  if (!output.bytes) return output.path;
  std::string suffix = output.type;
  if (!suffix.starts_with('.')) {  // a modality: the first suffix its sink knows
    for (const auto& [name, spec] : engine.registry().stages())
      if (spec.sink_of == output.type && !spec.suffixes.empty()) suffix = spec.suffixes.front();
  }
  prepared.scratch = std::make_unique<ScratchFolder>();
  return (prepared.scratch->path() / ("made" + suffix)).string();
}

/// Inputs that are values, each for the first port of its modality that no stage reads.
void take_feeds(const Request& request, Prepared& prepared, CompileOptions& compile) {
  for (const RequestInput& input : request.inputs) {
    if (input.values.empty()) continue;
    for (const PipelinePort& port : prepared.pipeline.inputs) {
      const bool taken =
          prepared.feeds.contains(port.name) || std::any_of(compile.bindings.begin(), compile.bindings.end(),
                                                            [&](const auto& b) { return b.port == port.name; });
      if (taken || port.type != input.modality) continue;
      prepared.feeds[port.name] = input.values;
      if (!input.format.type.empty()) compile.feed_formats[port.name] = input.format;
      if (port.optional && input.format.type.empty())
        throw Error(ErrorCode::config, prepared.pipeline.name + "/" + port.name,
                    "values for an optional input need their format, found none");
      break;
    }
  }
}

Prepared prepare(const Engine& engine, const Request& request) {
  Prepared prepared;
  const std::string path = written_path(engine, request.output, prepared);
  prepared.pipeline = request.pipeline.empty()
                          ? choose_pipeline(engine, request.inputs, output_modality(engine, path, request.output.type))
                          : engine.pipelines().find(request.pipeline);
  CompileOptions compile;
  compile.params = request.params;
  compile.device = request.device;
  compile.memory_budget = request.memory_budget;
  compile.bindings = request.output.values ? bind_inputs(engine, prepared.pipeline, request.inputs)
                                           : bind_ports(engine, prepared.pipeline, request.inputs, path, false);
  compile.unread = unbound_outputs(prepared.pipeline, compile.bindings);
  if (request.output.values && !compile.unread.empty()) compile.unread.erase(compile.unread.begin());  // read here
  take_feeds(request, prepared, compile);
  assign_params(engine, prepared.pipeline, request.assignments, compile);
  CompileResult compiled = engine.compile(prepared.pipeline, compile);
  if (!compiled.plan) throw_first(prepared.pipeline.name, compiled.diagnostics);
  prepared.plan = compiled.plan;
  prepared.notes = std::move(compiled.diagnostics);
  if (!request.output.values && path != "-" && !path.empty()) prepared.file = path;
  return prepared;
}

/// Sends values into one input of a run from a thread of its own, until they are sent or the run takes no more.
class Feeder {
 public:
  Feeder(Run& run, std::string port, const std::vector<Packet>& values)
      : thread_([&run, port = std::move(port), &values] {
          for (const Packet& value : values)
            if (!run.feed(port, value)) return;
          run.end_input(port);
        }) {}
  ~Feeder() { thread_.join(); }
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

 private:
  std::thread thread_;
};

/// Cancels a run that is left by an exception, so that feeders end.
class CancelOnThrow {
 public:
  explicit CancelOnThrow(Run& run) : run_(&run) {}
  ~CancelOnThrow() {
    if (run_ != nullptr) run_->cancel();
  }
  CancelOnThrow(const CancelOnThrow&) = delete;
  CancelOnThrow& operator=(const CancelOnThrow&) = delete;
  void release() { run_ = nullptr; }

 private:
  Run* run_;
};

void read_values(Run& run, const std::string& port, const std::function<void(const Packet&)>& values) {
  for (;;) {
    const std::optional<Packet> packet = run.read(port, milliseconds(200));
    if (packet && packet->ends_stream()) return;
    if (packet) values(*packet);
  }
}

void hand_over(const std::string& file, const std::function<void(std::span<const std::byte>)>& bytes) {
  std::ifstream in(file, std::ios::binary);
  std::vector<char> piece(1 << 16);
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0)
    bytes(std::as_bytes(std::span(piece).first(static_cast<std::size_t>(in.gcount()))));
}

}  // namespace

void throw_first(const std::string& pipeline, const std::vector<Diagnostic>& found) {
  std::string text;
  ErrorCode code = ErrorCode::pipeline;
  for (const Diagnostic& each : found) {
    if (each.severity != Diagnostic::Severity::error) continue;
    if (text.empty()) code = each.code;
    text += (text.empty() ? "" : "\n") + each.where + (each.where.empty() ? "" : ": ") + each.message;
  }
  throw Error(code, pipeline, text);
}

RequestResult run_request(Engine& engine, const Request& request) {
  Prepared prepared = prepare(engine, request);
  RequestResult result;
  result.notes = std::move(prepared.notes);
  if (!prepared.file.empty()) {
    RecordedPlan recorded = record_plan(engine, prepared.plan, request.run.seed);
    prepared.plan = std::move(recorded.plan);
    result.provenance = std::move(recorded.record);
  }
  engine.load(prepared.plan, request.on_load);
  const std::unique_ptr<Run> run = engine.create_run(prepared.plan, request.run);
  run->start();
  {
    std::vector<std::unique_ptr<Feeder>> feeders;
    CancelOnThrow cancels(*run);  // before the feeders go
    for (const auto& [port, values] : prepared.feeds) feeders.push_back(std::make_unique<Feeder>(*run, port, values));
    if (request.output.values) read_values(*run, prepared.pipeline.outputs.front().name, request.output.values);
    run->wait();
    cancels.release();
  }
  result.metrics = run->metrics();
  result.ended = run->result();
  if (request.output.bytes) {
    hand_over(prepared.file, request.output.bytes);
  } else if (!prepared.file.empty()) {
    keep_provenance(prepared.file, result.provenance);
    result.files.push_back(prepared.file);
  }
  return result;
}

}  // namespace morph
