// A plan as JSON for programs: nodes, links, memory, and the document it was compiled from.
#include "base/json_value.h"
#include "graph/explain.h"
#include "graph/memory_plan.h"

namespace morph {
namespace {

Json ports_json(const PlanNode& node, bool input) {
  const std::vector<std::optional<Format>>& formats = input ? node.inputs : node.outputs;
  Json json = Json::object();
  for (std::size_t i = 0; i < formats.size(); ++i) {
    std::string name = node.name;
    if (node.spec != nullptr) name = (input ? node.spec->inputs : node.spec->outputs)[i].name;
    json[name] = formats[i] ? to_json_value(*formats[i]) : Json(nullptr);
  }
  return json;
}

Json node_json(const Plan& plan, const PlanNode& node) {
  Json json = {{"name", node.name}};
  if (node.app_feed || node.app_read) {
    json["program"] = node.app_feed ? "feeds" : "reads";
  } else {
    json["stage"] = node.spec->name;
    json["device"] = node.device;
    json["threads"] = threads_of(plan, node);
    json["converter"] = node.inserted;
    json["params"] = to_json_value(node.params);
  }
  json["inputs"] = ports_json(node, true);
  json["outputs"] = ports_json(node, false);
  if (node.spec == nullptr) return json;
  const Estimate& estimate = node.estimate;
  json["memory"] = {{"weights", estimate.weights},
                    {"session", estimate.session},
                    {"scratch", estimate.scratch},
                    {"load_peak", estimate.load_peak},
                    {"runtime", estimate.runtime}};
  if (!estimate.weights_key.empty()) json["memory"]["weights_key"] = estimate.weights_key;
  json["longest_step_ms"] = estimate.longest_step_ms;
  return json;
}

}  // namespace

std::string explain_json(const Plan& plan) {
  Json json = {{"name", plan.name}, {"threads", plan.n_threads}};
  json["nodes"] = Json::array();
  for (const PlanNode& node : plan.nodes) json["nodes"].push_back(node_json(plan, node));
  json["links"] = Json::array();
  for (const PlanLink& link : plan.links) {
    Json out = {{"from", port_name(plan.nodes[static_cast<std::size_t>(link.from_node)], false, link.from_port)},
                {"to", port_name(plan.nodes[static_cast<std::size_t>(link.to_node)], true, link.to_port)},
                {"format", to_json_value(link.format)},
                {"queue", link.queue},
                {"policy", std::string(to_string(link.policy))}};
    if (link.delay) out["delay"] = true;
    json["links"].push_back(std::move(out));
  }
  json["culled"] = plan.culled;
  const MemoryPlan& memory = plan.memory;
  json["memory"] = {{"process", memory.process},     {"runtimes", memory.runtimes}, {"weights", memory.weights},
                    {"sessions", memory.sessions},   {"scratch", memory.scratch},   {"links", memory.links},
                    {"load_peak", memory.load_peak}, {"total", memory.total()},     {"budget", memory.budget},
                    {"held", memory.held},           {"others", memory.others},     {"others_idle", memory.others_idle},
                    {"by_device", memory.by_device}};
  json["notes"] = Json::array();
  for (const Diagnostic& note : plan.notes)
    json["notes"].push_back({{"where", note.where},
                             {"message", note.message},
                             {"severity", note.severity == Diagnostic::Severity::warning ? "warning" : "note"}});
  json["document"] = Json::parse(to_json(plan.source));
  return dump_json(json);
}

}  // namespace morph
