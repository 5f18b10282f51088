// RunGraph: see run_graph.h.
#include "exec/run_graph.h"

#include <algorithm>
#include <utility>

#include "base/mixed_bits.h"
#include "exec/step_error.h"
#include "graph/run_params.h"

namespace morph::exec {

namespace {

constexpr std::size_t kPortless = 1;  ///< an application's endpoint has one port

[[noreturn]] void misfit(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::internal, where, "the plan cannot be run: " + what);
}

void add_nodes(RunGraph& graph, std::vector<std::shared_ptr<const Stage>>& stages) {
  const Plan& plan = *graph.plan;
  if (stages.size() != plan.nodes.size())
    misfit(plan.name,
           std::to_string(plan.nodes.size()) + " nodes but " + std::to_string(stages.size()) + " stages were given");
  std::vector<Params> params = run_params(plan, graph.options.params);
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    const PlanNode& planned = plan.nodes[i];
    auto node = std::make_unique<GraphNode>();
    node->index = static_cast<int>(i);
    node->name = planned.name;
    node->where = plan.name + "/" + planned.name;
    node->spec = planned.spec;
    node->stage = std::move(stages[i]);
    node->app_feed = planned.app_feed;
    node->app_read = planned.app_read;
    node->device = planned.device;
    const bool endpoint = planned.app_feed || planned.app_read;
    if (endpoint != (node->stage == nullptr))
      misfit(node->where, endpoint ? "an endpoint of the application has a stage" : "the stage was not created");
    if (!endpoint && planned.spec == nullptr) misfit(node->where, "it has no stage spec");
    const std::size_t n_inputs = endpoint ? kPortless : planned.spec->inputs.size();
    const std::size_t n_outputs = endpoint ? kPortless : planned.spec->outputs.size();
    node->has_effects = !endpoint && !planned.spec->sink_of.empty();
    node->in_links.assign(n_inputs, -1);
    node->out_links.resize(n_outputs);
    node->guards.resize(n_outputs);
    node->io.where = node->where;
    node->io.signals = graph.signals;
    node->io.run_seed = stage_seed(graph.options.seed, planned.name);
    node->io.priority = static_cast<int>(graph.options.priority);
    node->params = std::move(params[i]);
    node->io.inputs.resize(n_inputs);
    node->io.outputs.resize(n_outputs);
    if (graph.options.on_progress)
      node->io.on_progress = [report = graph.options.on_progress, name = planned.name](
                                 double fraction, std::string_view what) { report(name, fraction, what); };
    graph.nodes.push_back(std::move(node));
  }
}

void add_links(RunGraph& graph) {
  const Plan& plan = *graph.plan;
  const auto in_range = [](int index, std::size_t size) {
    return index >= 0 && static_cast<std::size_t>(index) < size;
  };
  for (const PlanLink& planned : plan.links) {
    if (!in_range(planned.from_node, graph.nodes.size()) || !in_range(planned.to_node, graph.nodes.size()))
      misfit(plan.name, "a link names a node that does not exist");
    GraphNode& from = graph.node(planned.from_node);
    GraphNode& to = graph.node(planned.to_node);
    if (!in_range(planned.from_port, from.out_links.size()))
      misfit(from.where, "a link leaves a port it does not have");
    if (!in_range(planned.to_port, to.in_links.size())) misfit(to.where, "a link enters a port it does not have");
    int& in_link = to.in_links[static_cast<std::size_t>(planned.to_port)];
    if (in_link >= 0) misfit(to.where, "input " + std::to_string(planned.to_port) + " is fed twice");
    in_link = static_cast<int>(graph.links.size());
    from.out_links[static_cast<std::size_t>(planned.from_port)].push_back(in_link);
    from.io.outputs[static_cast<std::size_t>(planned.from_port)].connected = true;
    to.io.inputs[static_cast<std::size_t>(planned.to_port)].connected = true;
    GraphLink link{planned.from_node, planned.from_port, planned.to_node,
                   planned.to_port,   planned.delay,     LinkQueue(planned.queue, planned.policy, planned.bytes)};
    if (planned.delay) link.queue.push(Packet{});  // the port's initial value: a data packet without payload
    graph.links.push_back(std::move(link));
  }
  for (const auto& node : graph.nodes)
    if (node->app_read && node->in_links.front() < 0) misfit(node->where, "nothing feeds this output");
}

/// Nodes so that every link but delays leads forward; fewer than all when there is a cycle.
std::vector<std::size_t> forward_order(const RunGraph& graph, const std::vector<std::vector<std::size_t>>& readers) {
  std::vector<int> n_waiting(graph.nodes.size(), 0);
  for (const std::vector<std::size_t>& each : readers)
    for (const std::size_t to : each) ++n_waiting[to];
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    if (n_waiting[i] == 0) order.push_back(i);
  for (std::size_t next = 0; next < order.size(); ++next)
    for (const std::size_t to : readers[order[next]])
      if (--n_waiting[to] == 0) order.push_back(to);
  return order;
}

/// Distances to the nearest end and everybody's ancestors, each link once: documents decide how many there are.
void add_topology(RunGraph& graph) {
  const std::size_t n = graph.nodes.size();
  std::vector<std::vector<std::size_t>> readers(n);  // of each node, but over delays
  for (const GraphLink& link : graph.links)
    if (!link.delay)
      readers[static_cast<std::size_t>(link.from_node)].push_back(static_cast<std::size_t>(link.to_node));
  const std::vector<std::size_t> order = forward_order(graph, readers);
  if (order.size() != n) {
    std::vector<bool> ordered(n, false);
    for (const std::size_t i : order) ordered[i] = true;
    const auto at = static_cast<std::size_t>(std::find(ordered.begin(), ordered.end(), false) - ordered.begin());
    misfit(graph.nodes[at]->where, "the stage is upstream of itself without a delay link");
  }
  constexpr std::size_t kBits = 64;
  std::vector<std::vector<std::uint64_t>> upstream(n, std::vector<std::uint64_t>((n + kBits - 1) / kBits, 0));
  for (const std::size_t from : order)
    for (const std::size_t to : readers[from]) {
      for (std::size_t word = 0; word < upstream[to].size(); ++word) upstream[to][word] |= upstream[from][word];
      upstream[to][from / kBits] |= std::uint64_t{1} << (from % kBits);
    }
  constexpr int kFar = 1 << 20;
  for (std::size_t at = n; at-- > 0;) {
    GraphNode& node = *graph.nodes[order[at]];
    const bool sink = std::all_of(node.out_links.begin(), node.out_links.end(), [](auto& out) { return out.empty(); });
    node.distance = sink ? 0 : kFar;
    for (const std::size_t to : readers[order[at]])
      node.distance = std::min(node.distance, graph.nodes[to]->distance + 1);
  }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j)
      if ((upstream[i][j / kBits] >> (j % kBits) & 1) != 0) graph.nodes[i]->ancestors.push_back(static_cast<int>(j));
}

}  // namespace

std::uint64_t stage_seed(std::uint64_t run_seed, std::string_view node_name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a over the name, then splitmix64 with the seed
  for (const char c : node_name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mixed_bits(hash + run_seed * kMixedStep + kMixedStep);
}

std::shared_ptr<RunGraph> make_run_graph(std::shared_ptr<const Plan> plan,
                                         std::vector<std::shared_ptr<const Stage>> stages, RunOptions options) {
  auto graph = std::make_shared<RunGraph>();
  graph->plan = std::move(plan);
  graph->options = std::move(options);
  add_nodes(*graph, stages);
  add_links(*graph);
  add_topology(*graph);
  if (!graph->options.trace.empty()) graph->trace = std::make_unique<TraceLog>(graph->plan->name);
  return graph;
}

std::vector<GraphNode*> nodes_to_open(RunGraph& graph) {
  std::vector<GraphNode*> nodes;
  for (auto& node : graph.nodes)
    if (node->stage && !node->state && node->phase != NodePhase::done) nodes.push_back(node.get());
  return nodes;
}

OpenContext open_context(const RunGraph& graph, const GraphNode& node) {
  OpenContext context;
  context.seed = node.io.run_seed;
  context.where = node.where;
  context.params = node.params;
  context.strict = graph.options.strict;
  context.priority = graph.options.priority;
  context.deadline = graph.options.deadline;
  context.stage = node.name;
  context.attachments = graph.options.attachments;
  if (graph.folder) context.segments = graph.folder->of_stage(node.name);
  return context;
}

std::vector<std::unique_ptr<StageState>> open_states(const RunGraph& graph, const std::vector<GraphNode*>& nodes) {
  std::vector<std::unique_ptr<StageState>> states;
  for (const GraphNode* node : nodes) {
    try {
      states.push_back(node->stage->open(open_context(graph, *node)));
    } catch (...) {  // an edge: what a stage threw, with its place
      throw Error(*current_error(node->where));
    }
    if (!states.back()) throw Error(ErrorCode::internal, node->where, "the stage opened no state");
  }
  return states;
}

}  // namespace morph::exec
