// See run_params.h.
#include "graph/run_params.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/nearest.h"
#include "graph/params.h"

namespace morph {
namespace {

struct Finding {
  std::string where, message;
};

/// One Error for all of them; a single one keeps its own place.
[[noreturn]] void refuse(const Plan& plan, const std::vector<Finding>& findings) {
  if (findings.size() == 1) throw Error(ErrorCode::config, findings.front().where, findings.front().message);
  std::string text = fmt::format("{} parameters of the run are wrong:", findings.size());
  for (const Finding& each : findings) text += "\n  " + each.where + ": " + each.message;
  throw Error(ErrorCode::config, plan.name, text);
}

class Assignment {
 public:
  Assignment(const Plan& plan, bool changing) : plan_(plan), changing_(changing) {
    for (std::size_t i = 0; i < plan.nodes.size(); ++i)
      if (plan.nodes[i].spec != nullptr) nodes_.emplace(plan.nodes[i].name, i);
  }

  /// Values by node; a null one is left out.
  std::map<std::size_t, std::map<std::string, Value>> assign(const std::map<std::string, Value>& given) {
    for (const auto& [name, value] : given) {
      if (std::holds_alternative<std::monostate>(value)) continue;
      if (const auto own = plan_.params.find(name); own != plan_.params.end()) {
        for (const ParamTarget& target : own->second) set(name, target, value);
        continue;
      }
      const std::size_t dot = name.rfind('.');
      const std::string node = dot == std::string::npos ? "" : name.substr(0, dot);
      if (nodes_.count(node) > 0) {
        set(name, {node, name.substr(dot + 1)}, value);
      } else if (!culled(node)) {
        unknown(name);
      }
    }
    return std::move(values_);
  }

  void report(std::string where, std::string message) { findings_.push_back({std::move(where), std::move(message)}); }
  const std::vector<Finding>& findings() const { return findings_; }

 private:
  bool culled(const std::string& node) const {
    return std::find(plan_.culled.begin(), plan_.culled.end(), node) != plan_.culled.end();
  }

  void unknown(const std::string& name) {
    report(plan_.name + "/" + name, fmt::format("{} has no run parameter \"{}\"{} (a stage's own is \"stage.param\")",
                                                plan_.name, name, suggest(name, known())));
  }

  /// The pipeline's names that lead to a run parameter, and those of the stages.
  std::vector<std::string> known() const {
    std::vector<std::string> names;
    const auto is_run = [&](const ParamTarget& target) {
      const auto node = nodes_.find(target.node);
      if (node == nodes_.end()) return false;
      const ParamSpec* spec = find(*plan_.nodes[node->second].spec, target.param);
      return spec != nullptr && spec->scope == ParamScope::run;
    };
    for (const auto& [name, targets] : plan_.params)
      if (std::any_of(targets.begin(), targets.end(), is_run)) names.push_back(name);
    if (!names.empty()) return names;
    for (const auto& [node, index] : nodes_)
      for (const ParamSpec& param : plan_.nodes[index].spec->params)
        if (param.scope == ParamScope::run) names.push_back(node + "." + param.name);
    return names;
  }

  static const ParamSpec* find(const StageSpec& spec, const std::string& name) {
    for (const ParamSpec& param : spec.params)
      if (param.name == name) return &param;
    return nullptr;
  }

  void set(const std::string& name, const ParamTarget& target, const Value& value) {
    const auto node = nodes_.find(target.node);
    if (node == nodes_.end()) return;  // nobody reads what it makes: left out of the plan
    const StageSpec& spec = *plan_.nodes[node->second].spec;
    const std::string where = fmt::format("{}/{}/{}", plan_.name, target.node, target.param);
    const ParamSpec* param = find(spec, target.param);
    if (param == nullptr) {
      std::vector<std::string> names;
      for (const ParamSpec& each : spec.params) names.push_back(each.name);
      report(where, fmt::format("{} has no such parameter{}", spec.name, suggest(target.param, names)));
    } else if (param->scope != ParamScope::run) {
      report(where, fmt::format("\"{}\" belongs to loading, not to a run; compile the pipeline with it", name));
    } else if (changing_ && !param->changeable) {
      report(where, fmt::format("\"{}\" cannot change while a run lives; give it to the next one", name));
    } else if (std::string reason = why_not(*param, value); !reason.empty()) {
      report(where, reason + (param->help.empty() ? "" : " (" + param->help + ")"));
    } else {
      values_[node->second][target.param] = as_declared(*param, value);
    }
  }

  const Plan& plan_;
  bool changing_;
  std::map<std::string, std::size_t> nodes_;
  std::map<std::size_t, std::map<std::string, Value>> values_;
  std::vector<Finding> findings_;
};

/// What only several parameters together can say.
void validate(const Plan& plan, std::size_t index, const Params& params, Assignment& assignment) {
  const PlanNode& node = plan.nodes[index];
  if (!node.spec->validate) return;
  const std::string where = plan.name + "/" + node.name;
  std::vector<Diagnostic> own;
  try {
    node.spec->validate(params, own);
  } catch (const Error& error) {
    assignment.report(where + "/" + error.where(), error.message());
  }
  for (const Diagnostic& each : own)
    if (each.severity == Diagnostic::Severity::error)
      assignment.report(each.where.empty() ? where : where + "/" + each.where, each.message);
}

}  // namespace

std::vector<Params> run_params(const Plan& plan, const std::map<std::string, Value>& given) {
  std::vector<Params> params;
  for (const PlanNode& node : plan.nodes) params.push_back(node.params);
  Assignment assignment(plan, false);
  for (auto& [node, values] : assignment.assign(given)) {
    for (auto& [name, value] : values) params[node].set(name, std::move(value));
    validate(plan, node, params[node], assignment);
  }
  if (!assignment.findings().empty()) refuse(plan, assignment.findings());
  return params;
}

std::map<std::size_t, Params> changed_params(const Plan& plan, const std::vector<Params>& current,
                                             const std::map<std::string, Value>& given) {
  std::map<std::size_t, Params> changed;
  Assignment assignment(plan, true);
  for (auto& [node, values] : assignment.assign(given)) {
    Params whole = current.at(node);
    for (const auto& [name, value] : values) whole.set(name, value);
    validate(plan, node, whole, assignment);
    changed.emplace(node, Params(std::move(values)));
  }
  if (!assignment.findings().empty()) refuse(plan, assignment.findings());
  return changed;
}

Params of_scope(const StageSpec& spec, const Params& params, ParamScope scope) {
  Params chosen;
  for (const ParamSpec& param : spec.params)
    if (const auto found = params.values().find(param.name); param.scope == scope && found != params.values().end())
      chosen.set(param.name, found->second);
  return chosen;
}

}  // namespace morph
