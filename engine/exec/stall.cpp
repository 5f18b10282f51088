// Stalls: see resolve_stall in scheduler.h.
#include <algorithm>

#include "exec/scheduler.h"

namespace morph::exec {

namespace {

bool output_blocked(RunGraph& graph, const GraphNode& node) {
  for (const auto& port : node.out_links)
    for (const int link : port)
      if (graph.link(link).queue.full()) return true;
  return false;
}

/// May send something without anything else of the run happening first.
bool active(RunGraph& graph, const GraphNode& node) {
  if (node.phase == NodePhase::done || output_blocked(graph, node)) return false;
  return node.app_feed || (node.stage && node.last == StepStatus::waiting);
}

struct Inputs {
  std::vector<int> full, starved;
};

Inputs sort_inputs(RunGraph& graph, const GraphNode& node) {
  Inputs inputs;
  for (const int index : node.in_links) {
    if (index < 0) continue;
    const LinkQueue& queue = graph.link(index).queue;
    if (queue.ended()) continue;
    (queue.full() ? inputs.full : inputs.starved).push_back(index);
  }
  return inputs;
}

bool fed_by_active(RunGraph& graph, int link) {
  const GraphNode& from = graph.node(graph.link(link).from_node);
  if (active(graph, from)) return true;
  return std::any_of(from.ancestors.begin(), from.ancestors.end(),
                     [&](int ancestor) { return active(graph, graph.node(ancestor)); });
}

/// Something outside the run may still set it going: a device, the application feeding or reading.
bool outside_may_act(RunGraph& graph) {
  for (const auto& node : graph.nodes) {
    if (node->phase == NodePhase::done) continue;
    if (node->stage && node->last == StepStatus::waiting) return true;
    if (node->app_feed) return true;
    if (node->app_read && !graph.link(node->in_links.front()).queue.empty()) return true;
  }
  return false;
}

std::shared_ptr<const Error> deadlock(const RunGraph& graph) {
  for (const auto& node : graph.nodes) {
    if (node->phase == NodePhase::done || !node->stage) continue;
    const bool asks = node->last == StepStatus::need_input;
    return std::make_shared<const Error>(ErrorCode::internal, node->where,
                                         std::string("the stage can never go on: it answered ") +
                                             (asks ? "need_input" : "output_full") + ", but " +
                                             (asks ? "no input of it will ever get more" : "its outputs have room") +
                                             "; a stage whose inputs ended must take what is left and return done");
  }
  return std::make_shared<const Error>(ErrorCode::internal, graph.plan->name, "no stage can go on");
}

/// A stage wants ever more of one input before it takes from another.
std::shared_ptr<const Error> overflow(RunGraph& graph, int index) {
  const GraphLink& link = graph.link(index);
  const GraphNode& to = graph.node(link.to_node);
  return std::make_shared<const Error>(
      ErrorCode::resource, to.where,
      "the stage waits for another input while " + std::to_string(link.queue.length()) + " packets (" +
          std::to_string(link.queue.bytes() >> 20) + " MiB) of \"" + graph.node(link.from_node).name +
          "\" wait for it, and they may not grow further; give this link a longer \"queue\", or feed the inputs "
          "evenly");
}

}  // namespace

StallVerdict resolve_stall(RunGraph& graph) {
  StallVerdict verdict;
  int too_long = -1;
  const auto grow = [&](const std::vector<int>& links) {
    for (const int index : links) {
      if (graph.link(index).queue.grow())
        verdict.grown_links.push_back(index);
      else
        too_long = index;
    }
    return !verdict.grown_links.empty();
  };
  for (const auto& node : graph.nodes) {
    if (node->phase != NodePhase::idle || !node->stage) continue;
    if (node->last == StepStatus::need_input) {
      const Inputs inputs = sort_inputs(graph, *node);
      const bool others_come = std::any_of(inputs.starved.begin(), inputs.starved.end(),
                                           [&](int link) { return fed_by_active(graph, link); });
      if (!inputs.full.empty() && !others_come && !output_blocked(graph, *node) && grow(inputs.full)) return verdict;
    } else if (node->last == StepStatus::output_full && !output_blocked(graph, *node)) {
      std::vector<int> links;  // it wants more room than an empty queue has
      bool all_empty = true;
      for (const auto& port : node->out_links)
        for (const int link : port) {
          links.push_back(link);
          all_empty = all_empty && graph.link(link).queue.empty();
        }
      if (all_empty && grow(links)) return verdict;
    }
  }
  if (outside_may_act(graph)) return verdict;
  verdict.error = too_long < 0 ? deadlock(graph) : overflow(graph, too_long);
  return verdict;
}

}  // namespace morph::exec
