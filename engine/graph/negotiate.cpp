// See negotiate.h.
//
// An output has one format, whoever reads it. Each of its offers is tried on its readers: the one that most of them
// take as it is wins (the earlier on a tie); the others get a converter chain, shared where two need the same.
#include "graph/negotiate.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "graph/converters.h"
#include "graph/topology.h"

namespace morph {
namespace {

std::string list_of(const std::vector<FormatPattern>& patterns) {
  std::string text;
  for (const FormatPattern& pattern : patterns) text += (text.empty() ? "" : " or ") + to_string(pattern);
  return text.empty() ? "nothing" : text;
}

class Negotiator {
 public:
  Negotiator(const FlatGraph& graph, const NegotiateContext& context, std::vector<Diagnostic>& diagnostics)
      : graph_(graph), context_(context), diagnostics_(diagnostics) {
    for (const FlatNode& node : graph.nodes) used_names_.insert(node.name);
  }

  Negotiated run() {
    readers_.resize(graph_.nodes.size());
    inputs_.resize(graph_.nodes.size());
    failed_.resize(graph_.nodes.size(), false);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      inputs_[i].resize(graph_.nodes[i].n_inputs);
      readers_[i].resize(graph_.nodes[i].n_outputs);
    }
    for (std::size_t i = 0; i < graph_.links.size(); ++i) {
      const FlatLink& link = graph_.links[i];
      readers_[static_cast<std::size_t>(link.from_node)][static_cast<std::size_t>(link.from_port)].push_back(i);
      if (link.delay) fix_delayed(link);
    }
    const std::vector<int> order = topological_order(graph_);
    place_.assign(graph_.nodes.size(), -1);
    for (const int node : order) visit(static_cast<std::size_t>(node));
    for (PlanLink& link : result_.links) {
      // Links name flat nodes as ~index until every node has its place.
      if (link.to_node < 0) link.to_node = place_[static_cast<std::size_t>(~link.to_node)];
    }
    return std::move(result_);
  }

 private:
  void report(ErrorCode code, const std::string& where, std::string message) {
    diagnostics_.push_back({Diagnostic::Severity::error, code, where, std::move(message)});
  }

  /// Feedback arrives in the first format its reader accepts: the reader comes before the writer.
  void fix_delayed(const FlatLink& link) {
    const FlatNode& reader = graph_.nodes[static_cast<std::size_t>(link.to_node)];
    if (reader.spec == nullptr) return;
    const std::vector<FormatPattern>& accepted = reader.spec->inputs[static_cast<std::size_t>(link.to_port)].formats;
    if (!accepted.empty())
      inputs_[static_cast<std::size_t>(link.to_node)][static_cast<std::size_t>(link.to_port)] = fixate(accepted[0]);
  }

  void visit(std::size_t index) {
    const FlatNode& flat = graph_.nodes[index];
    place_[index] = static_cast<int>(result_.nodes.size());
    PlanNode node;
    node.name = flat.name;
    node.spec = flat.spec;
    node.params = flat.params;
    node.device = context_.devices[index];
    node.app_feed = flat.app_feed;
    node.app_read = flat.app_read;
    node.inputs = inputs_[index];
    node.outputs.resize(flat.n_outputs);
    result_.nodes.push_back(std::move(node));
    if (failed_[index]) return fail_readers(index);
    std::vector<std::vector<FormatPattern>> offers;
    if (!offers_of(index, offers)) return fail_readers(index);
    for (std::size_t port = 0; port < flat.n_outputs; ++port)
      if (!readers_[index][port].empty()) settle(index, port, offers[port]);
  }

  void fail_readers(std::size_t index) {
    for (const std::vector<std::size_t>& links : readers_[index])
      for (const std::size_t link : links) failed_[static_cast<std::size_t>(graph_.links[link].to_node)] = true;
  }

  bool offers_of(std::size_t index, std::vector<std::vector<FormatPattern>>& offers) {
    const FlatNode& flat = graph_.nodes[index];
    if (flat.app_feed) {
      offers.resize(1);
      const auto given = context_.feed_formats.find(flat.name);
      if (given != context_.feed_formats.end())
        offers[0].push_back(exactly(given->second));
      else if (!readers_[index][0].empty())
        offers[0] = accepted_by(readers_[index][0].front());
      return true;
    }
    if (flat.spec == nullptr) return true;
    if (!flat.spec->resolve) {
      for (const PortSpec& port : flat.spec->outputs) offers.push_back(port.formats);
      return true;
    }
    std::vector<const Format*> inputs;
    for (const std::optional<Format>& input : inputs_[index]) inputs.push_back(input ? &*input : nullptr);
    try {
      offers = flat.spec->resolve(ResolveContext{flat.params, inputs, context_.find_model, context_.devices[index]});
    } catch (const Error& error) {
      report(error.code(), flat.where, error.what());
      return false;
    } catch (const std::exception& error) {  // an edge: a stage's own code, or the file system's
      report(ErrorCode::internal, flat.where,
             fmt::format("{} could not say its formats: {}", flat.spec->name, error.what()));
      return false;
    }
    if (offers.size() == flat.n_outputs) return true;
    report(ErrorCode::internal, flat.where,
           fmt::format("{} resolved {} outputs, but it declares {}", flat.spec->name, offers.size(), flat.n_outputs));
    return false;
  }

  std::vector<FormatPattern> accepted_by(std::size_t link_index) const {
    const FlatLink& link = graph_.links[link_index];
    const FlatNode& reader = graph_.nodes[static_cast<std::size_t>(link.to_node)];
    if (reader.spec == nullptr) return {};
    if (link.delay)
      if (const auto& fixed = inputs_[static_cast<std::size_t>(link.to_node)][static_cast<std::size_t>(link.to_port)])
        return {exactly(*fixed)};
    return reader.spec->inputs[static_cast<std::size_t>(link.to_port)].formats;
  }

  bool takes_anything(std::size_t link) const {
    return graph_.nodes[static_cast<std::size_t>(graph_.links[link].to_node)].app_read;
  }

  /// An offer narrowed by every reader that can take it.
  struct Trial {
    FormatPattern pattern;
    std::size_t n_direct = 0;
  };
  Trial narrow(const FormatPattern& offer, const std::vector<std::size_t>& links) const {
    Trial trial{offer, 0};
    for (const std::size_t link : links) {
      if (takes_anything(link)) {
        ++trial.n_direct;
        continue;
      }
      for (const FormatPattern& accepted : accepted_by(link))
        if (std::optional<FormatPattern> shared = intersect(trial.pattern, accepted)) {
          trial.pattern = std::move(*shared);
          ++trial.n_direct;
          break;
        }
    }
    return trial;
  }

  struct Settled {
    Format format;
    std::map<std::size_t, ConverterChain> chains;  ///< by link
  };

  /// Nothing when a reader cannot be reached from this trial; `blocked` is that reader's link then.
  std::optional<Settled> complete(const Trial& trial, const std::vector<std::size_t>& links, std::size_t& blocked,
                                  std::vector<std::string>& considered) const {
    Settled settled;
    settled.format = fixate(trial.pattern);
    bool fixed = trial.n_direct > 0;
    for (const std::size_t link : links) {
      if (takes_anything(link)) continue;
      const std::vector<FormatPattern> accepted = accepted_by(link);
      if (fixed && std::any_of(accepted.begin(), accepted.end(),
                               [&](const FormatPattern& pattern) { return matches(pattern, settled.format); }))
        continue;
      ConverterSearch search = find_converters(context_.registry, context_.find_model,
                                               {fixed ? exactly(settled.format) : trial.pattern}, accepted);
      considered = std::move(search.considered);
      if (!search.chain) {
        blocked = link;
        return std::nullopt;
      }
      if (!std::exchange(fixed, true)) settled.format = search.chain->hops.front().input;
      settled.chains.emplace(link, std::move(*search.chain));
    }
    return settled;
  }

  void settle(std::size_t index, std::size_t port, const std::vector<FormatPattern>& offers) {
    const std::vector<std::size_t>& links = readers_[index][port];
    std::vector<Trial> trials;
    for (const FormatPattern& offer : offers) trials.push_back(narrow(offer, links));
    std::stable_sort(trials.begin(), trials.end(),
                     [](const Trial& a, const Trial& b) { return a.n_direct > b.n_direct; });
    std::size_t blocked = links.front();
    std::vector<std::string> considered;
    for (const Trial& trial : trials) {
      if (std::optional<Settled> settled = complete(trial, links, blocked, considered)) {
        commit(index, port, *settled);
        return;
      }
    }
    const FlatLink& link = graph_.links[blocked];
    std::string tried;
    for (const std::string& name : considered) tried += (tried.empty() ? "" : ", ") + name;
    report(ErrorCode::pipeline, graph_.nodes[static_cast<std::size_t>(link.to_node)].where,
           fmt::format("\"{}\" and \"{}\" do not agree on a format.\n    offered:  {}\n    accepted: {}\n    {}",
                       output_name(graph_, link.from_node, link.from_port),
                       input_name(graph_, link.to_node, link.to_port), list_of(offers), list_of(accepted_by(blocked)),
                       tried.empty() ? "there are no converters to put in between"
                                     : "converters considered: " + tried + "; none leads from one to the other"));
    for (const std::size_t each : links) failed_[static_cast<std::size_t>(graph_.links[each].to_node)] = true;
  }

  void commit(std::size_t index, std::size_t port, const Settled& settled) {
    const int from = place_[index];
    result_.nodes[static_cast<std::size_t>(from)].outputs[port] = settled.format;
    std::map<std::string, int> shared;  // converters that an earlier reader of this output got, by what they do
    for (const std::size_t link_index : readers_[index][port]) {
      const FlatLink& flat = graph_.links[link_index];
      int node = from;
      int node_port = static_cast<int>(port);
      Format format = settled.format;
      if (const auto chain = settled.chains.find(link_index); chain != settled.chains.end()) {
        std::string key;
        for (const ConverterHop& hop : chain->second.hops) {
          key += hop.spec->name + " " + to_string(hop.output) + "; ";
          const auto found = shared.find(key);
          if (found != shared.end()) {
            node = found->second;
          } else {
            node = insert(hop, node, node_port, format);
            shared.emplace(key, node);
          }
          node_port = 0;
          format = hop.output;
        }
      }
      PlanLink link;
      link.from_node = node;
      link.from_port = node_port;
      link.to_node = ~flat.to_node;
      link.to_port = flat.to_port;
      link.format = format;
      link.queue = flat.queue;
      link.policy = flat.policy;
      link.delay = flat.delay;
      inputs_[static_cast<std::size_t>(flat.to_node)][static_cast<std::size_t>(flat.to_port)] = format;
      result_.links.push_back(std::move(link));
    }
  }

  int insert(const ConverterHop& hop, int from, int from_port, const Format& format) {
    const int place = static_cast<int>(result_.nodes.size());
    PlanNode node;
    const std::string base = hop.spec->name.substr(hop.spec->name.rfind('/') + 1);
    do {
      node.name = fmt::format("{}#{}", base, ++counts_[base]);
    } while (used_names_.count(node.name) > 0);
    node.spec = hop.spec;
    node.params = hop.params;
    node.inserted = true;
    node.inputs = {hop.input};
    node.outputs = {hop.output};
    result_.nodes.push_back(std::move(node));
    PlanLink link;
    link.from_node = from;
    link.from_port = from_port;
    link.to_node = place;
    link.format = format;
    result_.links.push_back(std::move(link));
    return place;
  }

  const FlatGraph& graph_;
  const NegotiateContext& context_;
  std::vector<Diagnostic>& diagnostics_;
  std::vector<std::vector<std::vector<std::size_t>>> readers_;  ///< links by node and output port
  std::vector<std::vector<std::optional<Format>>> inputs_;      ///< by node and input port
  std::vector<bool> failed_;                                    ///< an input has no format; reported already
  std::vector<int> place_;                                      ///< index in the plan, by flat node
  std::set<std::string> used_names_;
  std::map<std::string, int> counts_;
  Negotiated result_;
};

}  // namespace

Negotiated negotiate(const FlatGraph& graph, const NegotiateContext& context, std::vector<Diagnostic>& diagnostics) {
  return Negotiator(graph, context, diagnostics).run();
}

}  // namespace morph
