// See flat_document.h.
#include "graph/flat_document.h"

#include <algorithm>
#include <utility>

namespace morph {
namespace {

bool is_binding(const FlatNode& node) {
  return node.app_feed || node.app_read || node.name.starts_with("in.") || node.name.starts_with("out.");
}

/// The port that an application node or a binding stands for.
std::string port_of(const FlatNode& node) {
  if (node.app_feed || node.app_read) return node.name;
  return node.name.substr(node.name.find('.') + 1);
}

}  // namespace

FlatDocument flat_document(const Plan& plan, const Registry& registry, const PipelineLibrary& library) {
  std::vector<Diagnostic> diagnostics;
  const FlatGraph graph = flatten(plan.source, plan.options, registry, library, diagnostics);
  for (const Diagnostic& each : diagnostics)
    if (each.severity == Diagnostic::Severity::error) throw Error(each.code, each.where, each.message);
  FlatDocument flat;
  flat.pipeline.name = plan.source.name;
  flat.pipeline.help = plan.source.help;
  flat.pipeline.inputs = plan.source.inputs;
  flat.pipeline.outputs = plan.source.outputs;
  for (auto* ports : {&flat.pipeline.inputs, &flat.pipeline.outputs})
    for (PipelinePort& port : *ports) port.endpoints.clear();
  for (const FlatNode& node : graph.nodes)
    if (!is_binding(node)) flat.pipeline.stages.push_back({node.name, node.spec->name, "", node.params, node.executor});
  const auto find = [](std::vector<PipelinePort>& ports, const std::string& name) {
    return std::find_if(ports.begin(), ports.end(), [&](const PipelinePort& port) { return port.name == name; });
  };
  for (const FlatLink& link : graph.links) {
    const FlatNode& from = graph.nodes[static_cast<std::size_t>(link.from_node)];
    const FlatNode& to = graph.nodes[static_cast<std::size_t>(link.to_node)];
    const std::string source = is_binding(from) ? "" : output_name(graph, link.from_node, link.from_port);
    const std::string target = is_binding(to) ? "" : input_name(graph, link.to_node, link.to_port);
    if (!target.empty() && !source.empty())
      flat.pipeline.links.push_back({source, target, link.queue, link.policy, link.delay});
    else if (!target.empty())
      find(flat.pipeline.inputs, port_of(from))->endpoints.push_back(target);
    else if (!source.empty())
      find(flat.pipeline.outputs, port_of(to))->endpoints.push_back(source);
  }
  // Optional inputs that nothing feeds lead nowhere.
  std::erase_if(flat.pipeline.inputs, [](const PipelinePort& port) { return port.endpoints.empty(); });
  flat.options = plan.options;
  flat.options.params.clear();
  flat.options.n_threads = plan.n_threads;
  return flat;
}

}  // namespace morph
