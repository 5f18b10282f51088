// See flatten.h. Expansion is recursive with three limits against hostile documents: depth, number of stages, and a
// pipeline may not contain itself.
#include "graph/flatten.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/nearest.h"
#include "graph/endpoint.h"
#include "graph/params.h"

namespace morph {
namespace {

constexpr std::size_t kMaxNodes = 4096;
constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kDefaultQueue = 8;

struct Place {
  int node = 0, port = 0;
  auto operator<=>(const Place&) const = default;
};

/// What a pipeline shows to the outside once expanded.
struct Ports {
  std::map<std::string, std::vector<Place>> inputs;
  std::map<std::string, std::optional<Place>> outputs;     ///< nothing: reported already
  std::map<std::string, std::vector<ParamTarget>> params;  ///< by its own names, and "nested.param"
};

/// A stage of one document: a node, or the ports of a nested pipeline.
struct Member {
  int node = -1;  ///< -1: nested, or could not be resolved
  bool broken = false;
  Ports nested;
  std::string pipeline;
};

template <class Map>
std::vector<std::string> keys_of(const Map& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

std::vector<std::string> names_of(const std::vector<PortSpec>& ports) {
  std::vector<std::string> names;
  for (const PortSpec& port : ports) names.push_back(port.name);
  return names;
}

class Flattener {
 public:
  Flattener(const CompileOptions& options, const Registry& registry, const PipelineLibrary& library,
            std::vector<Diagnostic>& diagnostics)
      : options_(options), registry_(registry), library_(library), diagnostics_(diagnostics) {}

  FlatGraph run(const Pipeline& pipeline) {
    root_ = pipeline.name;
    std::vector<std::string> stack{pipeline.name};
    Ports ports = expand(pipeline, "", options_.params, stack);
    bind(pipeline, ports);
    graph_.params = std::move(ports.params);
    check_inputs();
    return std::move(graph_);
  }

 private:
  void report(ErrorCode code, const std::string& where, std::string message) {
    diagnostics_.push_back({Diagnostic::Severity::error, code, where, std::move(message)});
  }

  /// Names that are near, for the first findings: comparing thousands of names with thousands takes minutes.
  std::string suggest(std::string_view wanted, const std::vector<std::string>& names) const {
    constexpr std::size_t kMostFindings = 50;
    return diagnostics_.size() < kMostFindings ? morph::suggest(wanted, names) : std::string();
  }

  std::string where(const std::string& name) const { return name.empty() ? root_ : root_ + "/" + name; }

  // ------------------------------------------------------------------------------------------ parameters

  using Values = std::map<std::string, Value>;

  /// Sets `value` for "stage.param"; the stage may be "nested/inner".
  bool set_target(std::map<std::string, Values>& values, const std::map<std::string, const PipelineStage*>& stages,
                  const std::string& target, const Value& value) {
    const std::optional<Endpoint> end = split_endpoint(target);
    if (!end) return false;
    const std::size_t slash = end->stage.find('/');
    const std::string stage = end->stage.substr(0, slash);
    const auto found = stages.find(stage);
    if (found == stages.end()) return false;
    if (slash == std::string::npos) {
      values[stage][end->port] = value;
      return true;
    }
    if (found->second->pipeline.empty()) return false;
    values[stage][end->stage.substr(slash + 1) + "." + end->port] = value;
    return true;
  }

  /// What each stage of `pipeline` is given: its own parameters, the pipeline's defaults, then what `given` says.
  std::map<std::string, Values> stage_values(const Pipeline& pipeline, const std::string& prefix, const Values& given,
                                             const std::map<std::string, const PipelineStage*>& stages) {
    std::map<std::string, Values> values;
    std::vector<std::string> names;
    std::set<std::string> known;
    for (const PipelineStage& stage : pipeline.stages) values[stage.name] = stage.params.values();
    for (const PipelineParam& param : pipeline.params) {
      names.push_back(param.name);
      known.insert(param.name);
      const auto found = given.find(param.name);
      const Value& value = found != given.end() ? found->second : param.default_value;
      for (const std::string& target : param.targets) {
        const bool has_value = !std::holds_alternative<std::monostate>(value);
        std::map<std::string, Values> unused;
        if (!set_target(has_value ? values : unused, stages, target, value))
          report(ErrorCode::pipeline, where(prefix + param.name),
                 fmt::format("parameter \"{}\" is for \"{}\", but there is no stage \"{}\"{}", param.name, target,
                             target.substr(0, target.rfind('.')),
                             suggest(target.substr(0, target.rfind('.')), keys_of(stages))));
      }
    }
    for (const auto& [name, value] : given) {
      if (known.count(name) > 0 || set_target(values, stages, name, value)) continue;
      report(ErrorCode::config, where(prefix + name),
             fmt::format("{} has no parameter \"{}\"{} (a stage's own is \"stage.param\")", pipeline.name, name,
                         suggest(name, names)));
    }
    return values;
  }

  // ------------------------------------------------------------------------------------------- expansion

  Ports expand(const Pipeline& pipeline, const std::string& prefix, const Values& given,
               std::vector<std::string>& stack) {
    std::map<std::string, const PipelineStage*> stages;
    for (const PipelineStage& stage : pipeline.stages)
      if (!stages.emplace(stage.name, &stage).second)
        report(ErrorCode::pipeline, where(prefix + stage.name), "two stages have this name; rename one");
    const std::map<std::string, Values> values = stage_values(pipeline, prefix, given, stages);
    std::map<std::string, Member> members;
    for (const auto& stage : pipeline.stages) {
      if (stages.at(stage.name) != &stage) continue;
      if (++n_members_ > kMaxNodes) {
        if (!std::exchange(too_many_, true))
          report(ErrorCode::pipeline, where(prefix + stage.name),
                 fmt::format("expected at most {} stages after nesting, found more", kMaxNodes));
        members[stage.name].broken = true;
        continue;
      }
      members[stage.name] = stage.pipeline.empty() ? add_stage(stage, prefix, values.at(stage.name))
                                                   : add_nested(stage, prefix, values.at(stage.name), stack);
    }
    for (const PipelineLink& link : pipeline.links) add_link(link, prefix, members);
    Ports ports = outer_ports(pipeline, prefix, members);
    ports.params = param_targets(pipeline, prefix, members);
    return ports;
  }

  /// Where each parameter of the pipeline, and of the pipelines in it ("nested.param"), ends up.
  static std::map<std::string, std::vector<ParamTarget>> param_targets(const Pipeline& pipeline,
                                                                       const std::string& prefix,
                                                                       const std::map<std::string, Member>& members) {
    std::map<std::string, std::vector<ParamTarget>> targets;
    for (const auto& [name, member] : members)
      for (const auto& [param, inner] : member.nested.params)
        targets[name + (param.find('.') == std::string::npos ? "." : "/") + param] = inner;
    for (const PipelineParam& param : pipeline.params) {
      std::vector<ParamTarget> own;
      for (const std::string& target : param.targets) {
        const std::optional<Endpoint> end = split_endpoint(target);
        if (!end) continue;
        if (const auto nested = targets.find(target); nested != targets.end())
          own.insert(own.end(), nested->second.begin(), nested->second.end());
        else
          own.push_back({prefix + end->stage, end->port});
      }
      targets[param.name] = std::move(own);
    }
    return targets;
  }

  Member add_stage(const PipelineStage& stage, const std::string& prefix, const Values& values) {
    FlatNode node;
    node.name = prefix + stage.name;
    node.where = where(node.name);
    node.executor = stage.executor;
    node.spec = registry_.find_stage(stage.stage);
    Member member;
    if (node.spec == nullptr) {
      report(ErrorCode::pipeline, node.where,
             fmt::format("unknown stage \"{}\"{}", stage.stage, suggest(stage.stage, keys_of(registry_.stages()))));
      member.broken = true;
      return member;
    }
    node.params = complete_params(*node.spec, values, node.where, diagnostics_);
    member.node = add_node(std::move(node));
    return member;
  }

  int add_node(FlatNode node) {
    if (node.spec != nullptr) {
      node.n_inputs = node.spec->inputs.size();
      node.n_outputs = node.spec->outputs.size();
    }
    graph_.nodes.push_back(std::move(node));
    return static_cast<int>(graph_.nodes.size()) - 1;
  }

  Member add_nested(const PipelineStage& stage, const std::string& prefix, const Values& values,
                    std::vector<std::string>& stack) {
    Member member;
    member.pipeline = stage.pipeline;
    const std::string here = where(prefix + stage.name);
    if (std::find(stack.begin(), stack.end(), stage.pipeline) != stack.end()) {
      std::string chain;
      for (const std::string& name : stack) chain += name + " -> ";
      report(ErrorCode::pipeline, here, fmt::format("a pipeline may not contain itself: {}{}", chain, stage.pipeline));
      member.broken = true;
      return member;
    }
    if (stack.size() >= kMaxDepth) {
      report(ErrorCode::pipeline, here, fmt::format("expected at most {} levels of pipelines, found more", kMaxDepth));
      member.broken = true;
      return member;
    }
    try {
      auto found = nested_.find(stage.pipeline);
      if (found == nested_.end()) found = nested_.emplace(stage.pipeline, library_.find_name(stage.pipeline)).first;
      stack.push_back(stage.pipeline);
      member.nested = expand(found->second, prefix + stage.name + "/", values, stack);
      stack.pop_back();
      for (const PipelinePort& port : found->second.inputs) {
        if (port.optional) continue;
        for (const Place& place : member.nested.inputs[port.name])
          required_by_.emplace(
              place, fmt::format("input \"{}\" of the nested pipeline \"{}\"", port.name, prefix + stage.name));
      }
    } catch (const Error& error) {
      report(error.code(), here, std::string(error.what()));
      member.broken = true;
    }
    return member;
  }

  // ----------------------------------------------------------------------------------------------- links

  const Member* find_member(const std::string& name, const std::string& at,
                            const std::map<std::string, Member>& members) {
    const auto found = members.find(name);
    if (found == members.end()) {
      report(ErrorCode::pipeline, at, fmt::format("there is no stage \"{}\"{}", name, suggest(name, keys_of(members))));
      return nullptr;
    }
    return found->second.broken ? nullptr : &found->second;
  }

  std::vector<Place> find_inputs(const std::string& text, const std::string& at,
                                 const std::map<std::string, Member>& members) {
    const std::optional<Endpoint> end = split_endpoint(text);
    if (!end) {
      report(ErrorCode::pipeline, at, "expected \"stage.port\", found \"" + text + "\"");
      return {};
    }
    const Member* member = find_member(end->stage, at, members);
    if (member == nullptr) return {};
    if (member->node < 0) {
      const auto found = member->nested.inputs.find(end->port);
      if (found != member->nested.inputs.end()) return found->second;
      report(ErrorCode::pipeline, at,
             fmt::format("pipeline {} (\"{}\") has no input \"{}\"{}", member->pipeline, end->stage, end->port,
                         suggest(end->port, keys_of(member->nested.inputs))));
      return {};
    }
    const StageSpec& spec = *graph_.nodes[static_cast<std::size_t>(member->node)].spec;
    if (const int port = spec.input_index(end->port); port >= 0) return {Place{member->node, port}};
    const bool is_output = spec.output_index(end->port) >= 0;
    report(ErrorCode::pipeline, at,
           fmt::format("{} (\"{}\") has no input \"{}\"{}{}", spec.name, end->stage, end->port,
                       is_output ? ", that is an output" : "", suggest(end->port, names_of(spec.inputs))));
    return {};
  }

  std::optional<Place> find_output(const std::string& text, const std::string& at,
                                   const std::map<std::string, Member>& members) {
    const std::optional<Endpoint> end = split_endpoint(text);
    if (!end) {
      report(ErrorCode::pipeline, at, "expected \"stage.port\", found \"" + text + "\"");
      return std::nullopt;
    }
    const Member* member = find_member(end->stage, at, members);
    if (member == nullptr) return std::nullopt;
    if (member->node < 0) {
      const auto found = member->nested.outputs.find(end->port);
      if (found != member->nested.outputs.end()) return found->second;
      report(ErrorCode::pipeline, at,
             fmt::format("pipeline {} (\"{}\") has no output \"{}\"{}", member->pipeline, end->stage, end->port,
                         suggest(end->port, keys_of(member->nested.outputs))));
      return std::nullopt;
    }
    const StageSpec& spec = *graph_.nodes[static_cast<std::size_t>(member->node)].spec;
    if (const int port = spec.output_index(end->port); port >= 0) return Place{member->node, port};
    const bool is_input = spec.input_index(end->port) >= 0;
    report(ErrorCode::pipeline, at,
           fmt::format("{} (\"{}\") has no output \"{}\"{}{}", spec.name, end->stage, end->port,
                       is_input ? ", that is an input" : "", suggest(end->port, names_of(spec.outputs))));
    return std::nullopt;
  }

  void add_link(const PipelineLink& link, const std::string& prefix, const std::map<std::string, Member>& members) {
    const std::string at =
        where(prefix.empty() ? "" : prefix.substr(0, prefix.size() - 1)) + "/" + link.from + " -> " + link.to;
    const std::optional<Place> from = find_output(link.from, at, members);
    const std::vector<Place> to = find_inputs(link.to, at, members);
    for (const Place& place : to) {
      if (!from) {
        fed_.emplace(place, "");  // reported already; do not report it as unconnected too
        continue;
      }
      const FlatNode& target = graph_.nodes[static_cast<std::size_t>(place.node)];
      if (link.policy != QueuePolicy::block && !target.spec->live)
        report(
            ErrorCode::pipeline, at,
            fmt::format("policy \"{}\" loses packets, which only live sinks and previews may; \"{}\" ({}) is neither. "
                        "Use \"block\"",
                        to_string(link.policy), target.name, target.spec->name));
      connect(*from, place, link.queue, link.policy, link.delay, at);
    }
  }

  void connect(Place from, Place to, std::size_t queue, QueuePolicy policy, bool delay, const std::string& at) {
    FlatLink link;
    link.from_node = from.node;
    link.from_port = from.port;
    link.to_node = to.node;
    link.to_port = to.port;
    link.queue = policy == QueuePolicy::latest ? 1 : queue == 0 ? kDefaultQueue : queue;
    link.policy = policy;
    link.delay = delay;
    const std::string source = output_name(graph_, from.node, from.port);
    const auto [fed, first] = fed_.emplace(to, source);
    if (!first) {
      report(ErrorCode::pipeline, at,
             fmt::format("input \"{}\" is fed twice, by \"{}\" and by \"{}\"; remove one or put a stage that joins "
                         "them in between",
                         input_name(graph_, to.node, to.port), fed->second, source));
      return;
    }
    graph_.links.push_back(link);
  }

  Ports outer_ports(const Pipeline& pipeline, const std::string& prefix, const std::map<std::string, Member>& members) {
    Ports ports;
    for (const PipelinePort& input : pipeline.inputs) {
      std::vector<Place>& places = ports.inputs[input.name];
      for (const std::string& end : input.endpoints)
        for (const Place& place : find_inputs(end, where(prefix + input.name), members)) places.push_back(place);
    }
    for (const PipelinePort& output : pipeline.outputs) {
      std::optional<Place>& place = ports.outputs[output.name];
      if (output.endpoints.size() == 1)
        place = find_output(output.endpoints.front(), where(prefix + output.name), members);
      else
        report(ErrorCode::pipeline, where(prefix + output.name), "an output needs exactly one \"from\"");
    }
    return ports;
  }

  // -------------------------------------------------------------------------------------------- bindings

  int add_binding(const Binding& binding, bool input) {
    FlatNode node;
    node.name = (input ? "in." : "out.") + binding.port;
    node.where = where(node.name);
    node.spec = registry_.find_stage(binding.stage);
    if (node.spec == nullptr) {
      report(ErrorCode::pipeline, node.where,
             fmt::format("unknown stage \"{}\"{}", binding.stage, suggest(binding.stage, keys_of(registry_.stages()))));
      return -1;
    }
    if (input ? !node.spec->inputs.empty() || node.spec->outputs.empty() : node.spec->inputs.empty()) {
      report(ErrorCode::pipeline, node.where,
             fmt::format("{} cannot be bound to {} \"{}\": expected a {}", binding.stage, input ? "input" : "output",
                         binding.port, input ? "source (outputs and no inputs)" : "sink (an input)"));
      return -1;
    }
    node.params = complete_params(*node.spec, binding.params.values(), node.where, diagnostics_);
    return add_node(std::move(node));
  }

  /// The bindings of ports; reports unknown and repeated ones. An input and an output may have one name: a binding is
  /// for the input when its stage is a source.
  std::map<std::string, const Binding*> bindings_of(const Pipeline& pipeline, bool input) {
    std::map<std::string, const Binding*> found;
    const std::vector<PipelinePort>& ports = input ? pipeline.inputs : pipeline.outputs;
    for (const Binding& binding : options_.bindings) {
      if (is_input_binding(pipeline, binding) != input) continue;
      const bool known =
          std::any_of(ports.begin(), ports.end(), [&](const auto& port) { return port.name == binding.port; });
      if (!known) {
        std::vector<std::string> names;
        for (const auto& port : pipeline.inputs) names.push_back(port.name);
        for (const auto& port : pipeline.outputs) names.push_back(port.name);
        report(ErrorCode::config, where(binding.port),
               fmt::format("{} has no input or output \"{}\"{}", pipeline.name, binding.port,
                           suggest(binding.port, names)));
      } else if (!found.emplace(binding.port, &binding).second) {
        report(ErrorCode::config, where(binding.port), "this port is bound twice; bind it once");
      }
    }
    return found;
  }

  bool is_input_binding(const Pipeline& pipeline, const Binding& binding) const {
    const auto has = [&](const std::vector<PipelinePort>& ports) {
      return std::any_of(ports.begin(), ports.end(), [&](const auto& port) { return port.name == binding.port; });
    };
    const bool in = has(pipeline.inputs), out = has(pipeline.outputs);
    if (in != out) return in;
    const StageSpec* spec = registry_.find_stage(binding.stage);
    return spec == nullptr || spec->inputs.empty();
  }

  void bind(const Pipeline& pipeline, const Ports& ports) {
    const std::map<std::string, const Binding*> in = bindings_of(pipeline, true), out = bindings_of(pipeline, false);
    for (const auto& [name, format] : options_.feed_formats)
      if (ports.inputs.count(name) == 0)
        report(
            ErrorCode::config, where(name),
            fmt::format("{} has no input \"{}\" to feed{}", pipeline.name, name, suggest(name, keys_of(ports.inputs))));
    for (const std::string& name : options_.unread)
      if (ports.outputs.count(name) == 0)
        report(ErrorCode::config, where(name),
               fmt::format("{} has no output \"{}\"{}", pipeline.name, name, suggest(name, keys_of(ports.outputs))));
    for (const PipelinePort& input : pipeline.inputs) {
      const auto bound = in.find(input.name);
      int node = -1;
      if (bound != in.end()) {
        node = add_binding(*bound->second, true);
      } else if (!input.optional || options_.feed_formats.count(input.name) > 0) {
        FlatNode feed;
        feed.name = input.name;
        feed.where = where(input.name);
        feed.app_feed = true;
        feed.n_outputs = 1;
        node = add_node(std::move(feed));
      } else {
        continue;
      }
      const auto places = ports.inputs.find(input.name);
      if (places == ports.inputs.end()) continue;
      for (const Place& place : places->second) {
        if (node < 0)
          fed_.emplace(place, "");  // reported already
        else
          connect(Place{node, source_port(node, input.type)}, place, 0, QueuePolicy::block, false, where(input.name));
      }
    }
    for (const PipelinePort& output : pipeline.outputs) {
      const auto place = ports.outputs.find(output.name);
      if (place == ports.outputs.end() || !place->second) continue;
      const auto bound = out.find(output.name);
      int node = -1;
      if (bound != out.end()) {
        node = add_binding(*bound->second, false);
      } else {
        FlatNode read;
        read.name = output.name;
        read.where = where(output.name);
        read.app_read = true;
        read.n_inputs = 1;
        const auto& unread = options_.unread;
        read.unread = std::find(unread.begin(), unread.end(), output.name) != unread.end();
        node = add_node(std::move(read));
      }
      if (node >= 0) connect(*place->second, Place{node, 0}, 0, QueuePolicy::block, false, where(output.name));
    }
  }

  /// The source's output of the port's modality, else its first.
  int source_port(int node, const std::string& type) const {
    const StageSpec* spec = graph_.nodes[static_cast<std::size_t>(node)].spec;
    if (spec == nullptr) return 0;
    for (std::size_t i = 0; i < spec->outputs.size(); ++i)
      for (const FormatPattern& pattern : spec->outputs[i].formats)
        if (pattern.type == type || pattern.type.rfind(type + "/", 0) == 0) return static_cast<int>(i);
    return 0;
  }

  void check_inputs() {
    std::set<std::string> said;
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      const FlatNode& node = graph_.nodes[i];
      if (node.spec == nullptr) continue;
      for (std::size_t p = 0; p < node.spec->inputs.size(); ++p) {
        const Place place{static_cast<int>(i), static_cast<int>(p)};
        if (node.spec->inputs[p].optional || fed_.count(place) > 0) continue;
        const auto outer = required_by_.find(place);
        if (outer != required_by_.end()) {
          if (said.insert(outer->second).second)
            report(ErrorCode::pipeline, node.where + "/" + node.spec->inputs[p].name,
                   outer->second + " is not connected; add a link to it");
          continue;
        }
        report(ErrorCode::pipeline, node.where + "/" + node.spec->inputs[p].name,
               fmt::format("required input \"{}.{}\" of {} is not connected; add a link to it or make it a pipeline "
                           "input",
                           node.name, node.spec->inputs[p].name, node.spec->name));
      }
    }
  }

  const CompileOptions& options_;
  const Registry& registry_;
  const PipelineLibrary& library_;
  std::vector<Diagnostic>& diagnostics_;
  FlatGraph graph_;
  std::string root_;
  std::map<std::string, Pipeline> nested_;
  std::map<Place, std::string> fed_;          ///< who feeds an input; "" when that was reported already
  std::map<Place, std::string> required_by_;  ///< inner inputs that a nested pipeline's required input leads to
  std::size_t n_members_ = 0;                 ///< stages seen, nested pipelines and unknown ones too
  bool too_many_ = false;
};

}  // namespace

std::string input_name(const FlatGraph& graph, int node, int port) {
  const FlatNode& at = graph.nodes[static_cast<std::size_t>(node)];
  return at.spec == nullptr ? at.name : at.name + "." + at.spec->inputs[static_cast<std::size_t>(port)].name;
}

std::string output_name(const FlatGraph& graph, int node, int port) {
  const FlatNode& at = graph.nodes[static_cast<std::size_t>(node)];
  return at.spec == nullptr ? at.name : at.name + "." + at.spec->outputs[static_cast<std::size_t>(port)].name;
}

FlatGraph flatten(const Pipeline& pipeline, const CompileOptions& options, const Registry& registry,
                  const PipelineLibrary& library, std::vector<Diagnostic>& diagnostics) {
  return Flattener(options, registry, library, diagnostics).run(pipeline);
}

}  // namespace morph
