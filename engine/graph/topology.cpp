// See topology.h. All passes are iterative: documents decide how deep a graph is.
#include "graph/topology.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace morph {
namespace {

/// Indices of links by the node they leave, or enter.
std::vector<std::vector<int>> links_by_node(const FlatGraph& graph, bool leaving, bool with_delay) {
  std::vector<std::vector<int>> by_node(graph.nodes.size());
  for (std::size_t i = 0; i < graph.links.size(); ++i) {
    const FlatLink& link = graph.links[i];
    if (link.delay && !with_delay) continue;
    by_node[static_cast<std::size_t>(leaving ? link.from_node : link.to_node)].push_back(static_cast<int>(i));
  }
  return by_node;
}

}  // namespace

std::vector<int> topological_order(const FlatGraph& graph) {
  const std::vector<std::vector<int>> leaving = links_by_node(graph, true, false);
  std::vector<int> n_waiting(graph.nodes.size(), 0);
  for (const FlatLink& link : graph.links)
    if (!link.delay) ++n_waiting[static_cast<std::size_t>(link.to_node)];
  std::priority_queue<int, std::vector<int>, std::greater<>> free;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    if (n_waiting[i] == 0) free.push(static_cast<int>(i));
  std::vector<int> order;
  while (!free.empty()) {
    const int node = free.top();
    free.pop();
    order.push_back(node);
    for (const int link : leaving[static_cast<std::size_t>(node)]) {
      const int next = graph.links[static_cast<std::size_t>(link)].to_node;
      if (--n_waiting[static_cast<std::size_t>(next)] == 0) free.push(next);
    }
  }
  return order;
}

std::string find_cycle(const FlatGraph& graph) {
  const std::vector<int> order = topological_order(graph);
  if (order.size() == graph.nodes.size()) return "";
  std::vector<bool> ordered(graph.nodes.size(), false);
  for (const int node : order) ordered[static_cast<std::size_t>(node)] = true;
  // Every node that is left has a link from another that is left: walking back must come round.
  const std::vector<std::vector<int>> entering = links_by_node(graph, false, false);
  int node = 0;
  while (ordered[static_cast<std::size_t>(node)]) ++node;
  std::vector<int> walked;  // links, last first
  std::vector<int> seen_at(graph.nodes.size(), -1);
  while (seen_at[static_cast<std::size_t>(node)] < 0) {
    seen_at[static_cast<std::size_t>(node)] = static_cast<int>(walked.size());
    for (const int link : entering[static_cast<std::size_t>(node)]) {
      const int from = graph.links[static_cast<std::size_t>(link)].from_node;
      if (ordered[static_cast<std::size_t>(from)]) continue;
      walked.push_back(link);
      node = from;
      break;
    }
  }
  std::string text;
  for (std::size_t i = walked.size(); i-- > static_cast<std::size_t>(seen_at[static_cast<std::size_t>(node)]);) {
    const FlatLink& link = graph.links[static_cast<std::size_t>(walked[i])];
    text += (text.empty() ? "" : ", ") + output_name(graph, link.from_node, link.from_port) + " -> " +
            input_name(graph, link.to_node, link.to_port);
  }
  return text;
}

std::vector<std::string> cull(FlatGraph& graph) {
  const std::vector<std::vector<int>> entering = links_by_node(graph, false, true);
  std::vector<bool> kept(graph.nodes.size(), false);
  std::vector<int> open;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const FlatNode& node = graph.nodes[i];
    const bool is_sink = node.spec != nullptr && (node.spec->outputs.empty() || !node.spec->sink_of.empty());
    if (!is_sink && !(node.app_read && !node.unread)) continue;
    kept[i] = true;
    open.push_back(static_cast<int>(i));
  }
  while (!open.empty()) {
    const int node = open.back();
    open.pop_back();
    for (const int link : entering[static_cast<std::size_t>(node)]) {
      const std::size_t from = static_cast<std::size_t>(graph.links[static_cast<std::size_t>(link)].from_node);
      if (kept[from]) continue;
      kept[from] = true;
      open.push_back(static_cast<int>(from));
    }
  }
  std::vector<std::string> removed;
  std::vector<int> new_index(graph.nodes.size(), -1);
  std::vector<FlatNode> nodes;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (kept[i]) {
      new_index[i] = static_cast<int>(nodes.size());
      nodes.push_back(std::move(graph.nodes[i]));
    } else if (!graph.nodes[i].app_read) {
      removed.push_back(graph.nodes[i].name);
    }
  }
  std::vector<FlatLink> links;
  for (FlatLink link : graph.links) {
    link.from_node = new_index[static_cast<std::size_t>(link.from_node)];
    link.to_node = new_index[static_cast<std::size_t>(link.to_node)];
    if (link.from_node >= 0 && link.to_node >= 0) links.push_back(link);
  }
  graph.nodes = std::move(nodes);
  graph.links = std::move(links);
  return removed;
}

}  // namespace morph
