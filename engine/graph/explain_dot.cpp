// A plan for Graphviz: one card per stage, a frame around each nested pipeline, links in the colour of their modality,
// converters dashed, the program's own ends round.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "graph/explain.h"
#include "graph/memory_plan.h"

namespace morph {
namespace {

/// A colour for a modality from the letters of its name: the engine knows none of them.
std::string colour_of(const std::string& modality) {
  unsigned hue = 0;
  for (const char c : modality) hue = hue * 31 + static_cast<unsigned char>(c);
  return fmt::format("{:.3f} 0.6 0.6", static_cast<double>(hue % 360) / 360.0);
}

/// Text inside an HTML-like label.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

std::string node_text(const Plan& plan, std::size_t index) {
  const PlanNode& node = plan.nodes[index];
  const std::string inner = node.name.substr(node.name.rfind('/') + 1);
  if (node.spec == nullptr)
    return fmt::format("n{} [shape=oval, style=\"filled\", fillcolor=\"#f1f5f9\", color=\"#94a3b8\", label=<{}>];\n",
                       index, escaped(node.name));
  std::string modality = "tensor";
  const std::vector<std::optional<Format>>& formats = node.outputs.empty() ? node.inputs : node.outputs;
  for (const std::optional<Format>& format : formats)
    if (format) {
      modality = modality_of(*format);
      break;
    }
  std::string facts = node.device;
  if (const std::string threads = threads_of(plan, node); threads == "own")
    facts += ", own thread";
  else
    facts += fmt::format(", {} thread{}", threads, threads == "1" ? "" : "s");
  if (stage_bytes(node) > 0) facts += ", " + to_bytes_text(stage_bytes(node));
  return fmt::format(
      "n{} [color=\"{}\", style=\"filled,rounded{}\", fillcolor=\"white\", penwidth={}, label=<<b>{}</b><br/>"
      "<font point-size=\"10\" color=\"#475569\">{}</font><br/><font point-size=\"9\" color=\"#94a3b8\">{}</font>>];\n",
      index, colour_of(modality), node.inserted ? ",dashed" : "", node.inserted ? "1.2" : "1.8", escaped(inner),
      escaped(node.spec->name), escaped(facts));
}

/// Nodes of the nested pipeline `prefix` ("" or "outer/"), frames inside frames. Documents limit the depth.
std::string frame_text(const Plan& plan, const std::string& prefix, int& n_frames, int depth) {
  const std::string indent(2 * static_cast<std::size_t>(depth), ' ');
  std::string text;
  std::vector<std::string> inner;
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    const std::string& name = plan.nodes[i].name;
    if (name.compare(0, prefix.size(), prefix) != 0) continue;
    const std::size_t slash = name.find('/', prefix.size());
    if (slash == name.npos) {
      text += indent + node_text(plan, i);
      continue;
    }
    const std::string nested = name.substr(0, slash + 1);
    if (std::find(inner.begin(), inner.end(), nested) == inner.end()) inner.push_back(nested);
  }
  for (const std::string& nested : inner) {
    const std::string label = nested.substr(prefix.size(), nested.size() - prefix.size() - 1);
    text += fmt::format(
        "{}subgraph cluster_{} {{\n{}  label=<{}>; style=\"rounded\"; color=\"#cbd5e1\"; "
        "bgcolor=\"#f8fafc\"; fontcolor=\"#64748b\"; fontsize=11;\n",
        indent, n_frames++, indent, escaped(label));
    text += frame_text(plan, nested, n_frames, depth + 1) + indent + "}\n";
  }
  return text;
}

}  // namespace

std::string explain_dot(const Plan& plan) {
  std::string text =
      "digraph pipeline {\n"
      "  rankdir=LR; nodesep=0.35; ranksep=0.7; bgcolor=\"white\"; fontname=\"Helvetica\"; pad=0.3;\n"
      "  node [shape=box, fontname=\"Helvetica\", fontsize=12, margin=\"0.16,0.09\"];\n"
      "  edge [fontname=\"Helvetica\", fontsize=9, arrowsize=0.7, penwidth=1.6];\n";
  text += fmt::format("  label=<<b>{}</b>   {} at peak>; labelloc=t; fontsize=14;\n", escaped(plan.name),
                      to_bytes_text(plan.memory.total()));
  int n_frames = 0;
  text += frame_text(plan, "", n_frames, 1);
  for (const PlanLink& link : plan.links) {
    std::string label = to_string(link.format);
    if (link.policy != QueuePolicy::block) label += " [" + std::string(to_string(link.policy)) + "]";
    const std::string colour = colour_of(modality_of(link.format));
    text += fmt::format("  n{} -> n{} [color=\"{}\", fontcolor=\"{}\", label=<{}>{}];\n", link.from_node, link.to_node,
                        colour, colour, escaped(label), link.delay ? ", style=dashed, constraint=false" : "");
  }
  return text + "}\n";
}

}  // namespace morph
