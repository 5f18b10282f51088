// Formats of every link, in topological order, with converters where two ports do not agree.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "graph/flatten.h"
#include "morph/pipeline.h"

namespace morph {

struct NegotiateContext {
  const Registry& registry;
  std::function<std::filesystem::path(const std::string&)> find_model;
  const std::map<std::string, Format>& feed_formats;
  const std::vector<std::string>& devices;  ///< by flat node
};

/// Nodes and links of the plan: the graph's own, with concrete formats, and the inserted converters. The order is
/// topological. `device` of the nodes is filled in; estimates are not.
struct Negotiated {
  std::vector<PlanNode> nodes;
  std::vector<PlanLink> links;
};

/// Findings are appended to `diagnostics`; with an error among them the result is incomplete.
Negotiated negotiate(const FlatGraph& graph, const NegotiateContext& context, std::vector<Diagnostic>& diagnostics);

}  // namespace morph
