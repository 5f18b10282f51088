// See compile.h.
#include "graph/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/nearest.h"
#include "graph/flatten.h"
#include "graph/memory_plan.h"
#include "graph/negotiate.h"
#include "graph/topology.h"

namespace morph {
namespace {

using Diagnostics = std::vector<Diagnostic>;

bool has_error(const Diagnostics& diagnostics) {
  return std::any_of(diagnostics.begin(), diagnostics.end(),
                     [](const Diagnostic& each) { return each.severity == Diagnostic::Severity::error; });
}

bool can_use(const StageSpec& spec, const DeviceInfo& device) {
  return std::find(spec.devices.begin(), spec.devices.end(), device.kind) != spec.devices.end() ||
         std::find(spec.devices.begin(), spec.devices.end(), device.id) != spec.devices.end();
}

std::string kinds_of(const StageSpec& spec) {
  std::string text;
  for (const std::string& kind : spec.devices) text += (text.empty() ? "" : ", ") + kind;
  return text;
}

/// Chooses a device for every node. A document's `executor` binds its stage; then the options' device; then the
/// planner: the first of the machine's accelerators that the stage can use (never an NPU unasked), else the CPU.
class DeviceChooser {
 public:
  DeviceChooser(const CompileOptions& options, const CompileEnvironment& environment, Diagnostics& diagnostics)
      : options_(options), environment_(environment), diagnostics_(diagnostics) {}

  std::vector<std::string> run(const FlatGraph& graph, const std::string& pipeline) {
    const DeviceInfo* asked = nullptr;
    if (!options_.device.empty()) asked = find(options_.device, pipeline);
    std::vector<std::string> chosen;
    bool used = false;
    for (const FlatNode& node : graph.nodes) {
      chosen.push_back(node.spec == nullptr ? "cpu" : choose(node, asked));
      used = used || (node.spec != nullptr && asked != nullptr && chosen.back() == asked->id);
    }
    if (asked != nullptr && !used && !has_error(diagnostics_))
      report(pipeline,
             fmt::format("device \"{}\" was asked for, but no stage of this pipeline can use it; leave it out",
                         options_.device));
    return chosen;
  }

 private:
  void report(const std::string& where, std::string message) {
    diagnostics_.push_back({Diagnostic::Severity::error, ErrorCode::device, where, std::move(message)});
  }

  const DeviceInfo* find(const std::string& id_or_kind, const std::string& where) {
    for (const DeviceInfo& device : environment_.devices)
      if (device.id == id_or_kind) return &device;
    for (const DeviceInfo& device : environment_.devices)
      if (device.kind == id_or_kind) return &device;
    std::vector<std::string> ids;
    for (const DeviceInfo& device : environment_.devices) ids.push_back(device.id);
    report(where, fmt::format("device \"{}\" was asked for, but this machine has none{}", id_or_kind,
                              suggest(id_or_kind, ids)));
    return nullptr;
  }

  std::string choose(const FlatNode& node, const DeviceInfo* asked) {
    const StageSpec& spec = *node.spec;
    if (!node.executor.empty()) {
      const DeviceInfo* device = find(node.executor, node.where);
      if (device == nullptr) return "cpu";
      if (!can_use(spec, *device))
        report(node.where, fmt::format("executor \"{}\" was asked for, but {} runs on {} only", node.executor,
                                       spec.name, kinds_of(spec)));
      return device->id;
    }
    if (asked != nullptr) {
      if (can_use(spec, *asked)) return asked->id;
      if (spec.load == StageLoad::heavy)
        report(node.where,
               fmt::format("device \"{}\" was asked for, but {} runs on {} only; ask for another device, or give this "
                           "stage an \"executor\" in the pipeline",
                           options_.device, spec.name, kinds_of(spec)));
      return "cpu";
    }
    constexpr std::array<std::string_view, 2> kAccelerators{"cuda", "vulkan"};
    for (const std::string_view kind : kAccelerators)
      for (const DeviceInfo& device : environment_.devices)
        if (device.kind == kind && can_use(spec, device)) return device.id;
    for (const DeviceInfo& device : environment_.devices)
      if (device.kind == "cpu" && can_use(spec, device)) return device.id;
    if (options_.device.empty())
      report(node.where,
             fmt::format("{} runs on {} only, and this machine has no such device", spec.name, kinds_of(spec)));
    return "cpu";
  }

  const CompileOptions& options_;
  const CompileEnvironment& environment_;
  Diagnostics& diagnostics_;
};

Estimate estimate(const PlanNode& node, const Params& params, int n_threads, const CompileEnvironment& environment) {
  if (node.spec == nullptr || !node.spec->estimate) return {};
  std::vector<const Format*> inputs;
  for (const std::optional<Format>& input : node.inputs) inputs.push_back(input ? &*input : nullptr);
  return node.spec->estimate(ResolveContext{params, inputs, environment.find_model, node.device, node.source.bytes,
                                            node.source.extents, n_threads});
}

/// What a source will read: what it says itself, or the bytes of its literal or its file.
SourceSize source_size(const PlanNode& node) {
  if (node.spec == nullptr || node.spec->source_of.empty()) return {};
  if (node.spec->measure) return node.spec->measure(node.params);
  if (node.params.has("text")) return {node.params.get_string("text").size(), {}};
  if (!node.params.has("path")) return {};
  std::error_code failed;
  const std::uintmax_t bytes = std::filesystem::file_size(node.params.get_string("path"), failed);
  return {failed ? 0 : bytes, {}};
}

/// Passes sizes of sources along the links, for as long as the kind of thing (the format's modality) stays the same.
void size_sources(Plan& plan) {
  const auto modality = [](const Format& format) { return format.type.substr(0, format.type.find('/')); };
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    PlanNode& node = plan.nodes[i];
    node.source = source_size(node);
    std::uint64_t largest = 0;
    for (const PlanLink& link : plan.links) {
      if (link.to_node != static_cast<int>(i) || link.delay) continue;
      const PlanNode& from = plan.nodes[static_cast<std::size_t>(link.from_node)];
      bool same = true;
      for (const std::optional<Format>& input : from.inputs)
        same = same && (!input || modality(*input) == modality(link.format));
      // A generator makes more than it takes: its output says nothing about the source.
      if (!same || (from.spec != nullptr && from.spec->load == StageLoad::heavy)) continue;
      node.source.bytes += from.source.bytes;
      if (from.source.bytes < largest) continue;
      largest = from.source.bytes;
      node.source.extents = from.source.extents;
    }
  }
}

void estimate_all(Plan& plan, const CompileEnvironment& environment, Diagnostics& diagnostics) {
  try {
    size_sources(plan);
  } catch (const std::exception& error) {  // an edge: a stage's own code
    diagnostics.push_back({Diagnostic::Severity::error, ErrorCode::internal, plan.name,
                           fmt::format("a source could not say how much it reads: {}", error.what())});
  }
  for (PlanNode& node : plan.nodes) {
    const std::string where = plan.name + "/" + node.name;
    try {
      node.estimate = estimate(node, node.params, plan.n_threads, environment);
    } catch (const Error& error) {
      diagnostics.push_back({Diagnostic::Severity::error, error.code(), where, error.what()});
    } catch (const std::exception& error) {  // an edge: a stage's own code, or the file system's
      diagnostics.push_back({Diagnostic::Severity::error, ErrorCode::internal, where,
                             fmt::format("{} could not say what it needs: {}", node.spec->name, error.what())});
    }
  }
}

void plan_the_memory(Plan& plan, const CompileEnvironment& environment, Diagnostics& diagnostics) {
  const Plan* const one[] = {&plan};
  plan.memory = plan_memory(one, environment.process_memory);
  if (environment.booked) environment.booked(plan, plan.memory);
  const std::uint64_t asked = plan.options.memory_budget, machine = environment.memory_limit;
  const bool budget = asked > 0 && (machine == 0 || asked <= machine);
  plan.memory.budget = budget ? asked : machine;
  std::string limit_is = budget ? "the memory budget" : "what this machine has available";
  if (!budget && environment.memory_limit_is) limit_is = environment.memory_limit_is(plan.memory.total());
  for (Diagnostic& each : check_memory(plan, plan.memory.budget, limit_is, environment.devices,
                                       [&](const PlanNode&node, const Params&params) {
                                         return estimate(node, params, plan.n_threads, environment);
                                       }))
    diagnostics.push_back(std::move(each));
}

/// Says as fields what a diagnostic's `where` names: "pipeline/stage/port" or ".../parameter".
void name_places(const std::string& pipeline, const FlatGraph& graph, Diagnostics& diagnostics) {
  std::map<std::string, const FlatNode*> nodes;
  for (const FlatNode& node : graph.nodes) nodes.emplace(node.name, &node);
  for (Diagnostic& each : diagnostics) {
    if (each.where.compare(0, pipeline.size() + 1, pipeline + "/") != 0) continue;
    const std::string rest = each.where.substr(pipeline.size() + 1);
    const std::size_t slash = rest.rfind('/');
    const std::string last = slash == rest.npos ? "" : rest.substr(slash + 1);
    if (const auto node = nodes.find(rest); node != nodes.end()) {
      each.stage = rest;
    } else if (const auto holder = nodes.find(rest.substr(0, slash)); holder != nodes.end() && !last.empty()) {
      const StageSpec* spec = holder->second->spec;
      each.stage = holder->first;
      const bool port = spec != nullptr && (spec->input_index(last) >= 0 || spec->output_index(last) >= 0);
      (port ? each.port : each.parameter) = last;
    } else if (each.code == ErrorCode::config && slash == rest.npos) {
      each.parameter = rest;  // of the pipeline
    } else if (slash == rest.npos && rest.find(' ') == rest.npos) {
      each.stage = rest;  // one that could not be resolved
    }
  }
}

CompileResult finish(std::shared_ptr<Plan> plan, Diagnostics diagnostics, const FlatGraph& graph) {
  CompileResult result;
  name_places(plan->name, graph, diagnostics);
  if (!has_error(diagnostics)) {
    for (const Diagnostic& each : diagnostics) plan->notes.push_back(each);
    result.plan = std::move(plan);
  }
  result.diagnostics = std::move(diagnostics);
  return result;
}

}  // namespace

CompileResult compile_pipeline(const Pipeline& pipeline, const CompileOptions& options,
                               const CompileEnvironment& environment) {
  Diagnostics diagnostics;
  auto plan = std::make_shared<Plan>();
  plan->name = pipeline.name;
  plan->source = pipeline;
  plan->options = options;
  plan->n_threads = options.n_threads > 0 ? std::min(options.n_threads, environment.n_threads) : environment.n_threads;
  FlatGraph graph = flatten(pipeline, options, environment.registry, environment.library, diagnostics);
  if (const std::string cycle = find_cycle(graph); !cycle.empty()) {
    diagnostics.push_back({Diagnostic::Severity::error, ErrorCode::pipeline, pipeline.name,
                           "a pipeline may not have a cycle: " + cycle +
                               "; cut it, or declare the link that carries feedback with \"delay\": true"});
    return finish(std::move(plan), std::move(diagnostics), graph);
  }
  if (has_error(diagnostics)) return finish(std::move(plan), std::move(diagnostics), graph);
  const FlatGraph whole = graph;  // names of what is culled too
  plan->culled = cull(graph);
  plan->params = std::move(graph.params);
  for (const std::string& name : plan->culled)
    diagnostics.push_back({Diagnostic::Severity::note, ErrorCode::pipeline, pipeline.name + "/" + name,
                           "left out: no output and no sink depends on it"});
  if (graph.nodes.empty()) {
    diagnostics.push_back({Diagnostic::Severity::error, ErrorCode::pipeline, pipeline.name,
                           "nothing reads what this pipeline makes; give it an output or a sink"});
    return finish(std::move(plan), std::move(diagnostics), whole);
  }
  const std::vector<std::string> devices = DeviceChooser(options, environment, diagnostics).run(graph, pipeline.name);
  Negotiated negotiated =
      negotiate(graph, NegotiateContext{environment.registry, environment.find_model, options.feed_formats, devices},
                diagnostics);
  plan->nodes = std::move(negotiated.nodes);
  plan->links = std::move(negotiated.links);
  if (has_error(diagnostics)) return finish(std::move(plan), std::move(diagnostics), whole);
  estimate_all(*plan, environment, diagnostics);
  plan_the_memory(*plan, environment, diagnostics);
  return finish(std::move(plan), std::move(diagnostics), whole);
}

}  // namespace morph
