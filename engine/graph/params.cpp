// See params.h; also the text form of parameters and the parameters of whole pipelines.
#include "graph/params.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "base/nearest.h"
#include "base/value_kind.h"
#include "graph/endpoint.h"
#include "morph/pipeline.h"
#include "morph/registry.h"

namespace morph {
namespace {

bool right_type(ParamType type, const Value& value) {
  switch (type) {
    case ParamType::boolean:
      return std::holds_alternative<bool>(value);
    case ParamType::integer:
      return std::holds_alternative<std::int64_t>(value);
    case ParamType::number:
      return std::holds_alternative<double>(value) || std::holds_alternative<std::int64_t>(value);
    case ParamType::string:
    case ParamType::path:
      return std::holds_alternative<std::string>(value);
    case ParamType::list:
      return std::holds_alternative<std::vector<std::string>>(value);
  }
  return false;
}

std::string expected_range(const ParamSpec& param) {
  if (param.min && param.max) return fmt::format("from {} to {}", *param.min, *param.max);
  if (param.min) return fmt::format("of at least {}", *param.min);
  return fmt::format("of at most {}", *param.max);
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string_view to_string(ParamType type) {
  switch (type) {
    case ParamType::boolean:
      return "boolean";
    case ParamType::integer:
      return "integer";
    case ParamType::number:
      return "number";
    case ParamType::string:
      return "string";
    case ParamType::path:
      return "path";
    case ParamType::list:
      return "list";
  }
  return "string";
}

Value parse_value(ParamType type, std::string_view text) {
  const auto refuse = [&](std::string_view expected) -> Value {
    throw Error(ErrorCode::config, "", fmt::format("expected {}, found \"{}\"", expected, text));
  };
  switch (type) {
    case ParamType::boolean:
      if (text == "true" || text == "yes" || text == "on" || text == "1") return true;
      if (text == "false" || text == "no" || text == "off" || text == "0") return false;
      return refuse("true or false");
    case ParamType::integer:
      if (const auto number = parse_number<std::int64_t>(text)) return *number;
      return refuse("an integer");
    case ParamType::number:
      if (const auto number = parse_number<double>(text); number && std::isfinite(*number)) return *number;
      return refuse("a number");
    case ParamType::string:
    case ParamType::path:
      return std::string(text);
    case ParamType::list: {
      std::vector<std::string> list;
      while (!text.empty()) {
        const std::size_t comma = text.find(',');
        list.emplace_back(text.substr(0, comma));
        text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
      }
      return list;
    }
  }
  return refuse("a value");
}

std::string why_not(const ParamSpec& param, const Value& value) {
  if (!right_type(param.type, value))
    return fmt::format("expected {} {}, found {} {}", param.type == ParamType::integer ? "an" : "a",
                       to_string(param.type), value_kind(value), to_string(value));
  if (const double* number = std::get_if<double>(&value); number != nullptr && !std::isfinite(*number))
    return "expected a finite number, found " + to_string(value);
  const std::int64_t* whole = std::get_if<std::int64_t>(&value);
  const double* real = std::get_if<double>(&value);
  if (whole != nullptr || real != nullptr) {
    const double number = whole != nullptr ? static_cast<double>(*whole) : *real;
    if ((param.min && number < *param.min) || (param.max && number > *param.max))
      return fmt::format("expected a value {}, found {}", expected_range(param), to_string(value));
  }
  if (param.choices.empty()) return "";
  const auto check = [&](const std::string& text) -> std::string {
    if (std::find(param.choices.begin(), param.choices.end(), text) != param.choices.end()) return "";
    std::string all;
    for (const std::string& choice : param.choices) all += (all.empty() ? "" : ", ") + choice;
    const std::vector<std::string> near = nearest_names(text, param.choices, 1);
    return fmt::format("expected one of {}, found \"{}\"{}", all, text,
                       near.empty() ? "" : "; did you mean \"" + near.front() + "\"?");
  };
  if (const std::string* text = std::get_if<std::string>(&value)) return check(*text);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    for (const std::string& text : *list)
      if (std::string reason = check(text); !reason.empty()) return reason;
    return "";
  }
  return check(to_string(value));  // choices of numbers are written as text
}

Value as_declared(const ParamSpec& param, Value value) {
  if (const std::int64_t* whole = std::get_if<std::int64_t>(&value); whole && param.type == ParamType::number)
    return static_cast<double>(*whole);
  return value;
}

Params complete_params(const StageSpec& spec, const std::map<std::string, Value>& given, const std::string& where,
                       std::vector<Diagnostic>& diagnostics) {
  Params params;
  std::vector<std::string> names;
  const std::size_t found_before = diagnostics.size();
  const auto report = [&](const std::string& name, std::string message) {
    diagnostics.push_back({Diagnostic::Severity::error, ErrorCode::config, where + "/" + name, std::move(message)});
  };
  for (const ParamSpec& param : spec.params) {
    names.push_back(param.name);
    const auto found = given.find(param.name);
    const bool is_given = found != given.end() && !std::holds_alternative<std::monostate>(found->second);
    Value value = is_given ? found->second : param.default_value;
    if (is_given) {
      if (std::string reason = why_not(param, value); !reason.empty()) {
        report(param.name, reason + (param.help.empty() ? "" : " (" + param.help + ")"));
        value = param.default_value;
      }
    } else if (param.required) {
      report(param.name, fmt::format("this {} parameter of {} is required; give it a value{}", to_string(param.type),
                                     spec.name, param.help.empty() ? "" : " (" + param.help + ")"));
    }
    params.set(param.name, as_declared(param, std::move(value)));
  }
  for (const auto& [name, value] : given)
    if (std::find(names.begin(), names.end(), name) == names.end())
      report(name, fmt::format("{} has no such parameter{}", spec.name, suggest(name, names)));
  if (spec.validate && diagnostics.size() == found_before) {
    std::vector<Diagnostic> own;
    try {
      spec.validate(params, own);
    } catch (const Error& error) {
      own.push_back({Diagnostic::Severity::error, error.code(), error.where(), error.message()});
    }
    for (Diagnostic& each : own) {
      each.where = each.where.empty() ? where : where + "/" + each.where;
      diagnostics.push_back(std::move(each));
    }
  }
  return params;
}

namespace {

const PipelineStage* stage_named(const Pipeline& pipeline, std::string_view name) {
  for (const PipelineStage& stage : pipeline.stages)
    if (stage.name == name) return &stage;
  return nullptr;
}

std::optional<ParamSpec> target_spec(const Pipeline& pipeline, const std::string& target, const Registry& registry,
                                     const PipelineLibrary& library, int depth);

std::optional<ParamSpec> effective(const Pipeline& pipeline, const PipelineParam& param, const Registry& registry,
                                   const PipelineLibrary& library, int depth) {
  for (const std::string& target : param.targets) {
    std::optional<ParamSpec> spec = target_spec(pipeline, target, registry, library, depth);
    if (!spec) continue;
    spec->name = param.name;
    if (!param.help.empty()) spec->help = param.help;
    if (!std::holds_alternative<std::monostate>(param.default_value)) spec->default_value = param.default_value;
    if (!std::holds_alternative<std::monostate>(spec->default_value)) spec->required = false;
    return spec;
  }
  return std::nullopt;
}

std::optional<ParamSpec> target_spec(const Pipeline& pipeline, const std::string& target, const Registry& registry,
                                     const PipelineLibrary& library, int depth) {
  constexpr int kMaxDepth = 8;
  std::optional<Endpoint> end = split_endpoint(target);
  if (!end || depth > kMaxDepth) return std::nullopt;
  std::string rest;
  if (const std::size_t slash = end->stage.find('/'); slash != std::string::npos) {
    rest = end->stage.substr(slash + 1);
    end->stage.resize(slash);
  }
  const PipelineStage* stage = stage_named(pipeline, end->stage);
  if (stage == nullptr) return std::nullopt;
  if (stage->pipeline.empty()) {
    const StageSpec* spec = registry.find_stage(stage->stage);
    if (spec == nullptr || !rest.empty()) return std::nullopt;
    for (const ParamSpec& param : spec->params) {
      if (param.name != end->port) continue;
      ParamSpec found = param;
      if (stage->params.has(param.name)) found.default_value = stage->params.at(param.name);
      return found;
    }
    return std::nullopt;
  }
  try {
    const Pipeline inner = library.find_name(stage->pipeline);
    if (!rest.empty()) return target_spec(inner, rest + "." + end->port, registry, library, depth + 1);
    for (const PipelineParam& param : inner.params) {
      if (param.name != end->port) continue;
      std::optional<ParamSpec> found = effective(inner, param, registry, library, depth + 1);
      if (found && stage->params.has(param.name)) found->default_value = stage->params.at(param.name);
      return found;
    }
  } catch (const Error&) {  // compile() reports a nested pipeline that cannot be read
  }
  return std::nullopt;
}

}  // namespace

std::optional<ParamSpec> param_named(const Pipeline& pipeline, const std::string& name, const Registry& registry,
                                     const PipelineLibrary& library) {
  for (const PipelineParam& param : pipeline.params)
    if (param.name == name) return effective(pipeline, param, registry, library, 0);
  return target_spec(pipeline, name, registry, library, 0);
}

std::vector<ParamSpec> pipeline_params(const Pipeline& pipeline, const Registry& registry,
                                       const PipelineLibrary& library) {
  std::vector<ParamSpec> specs;
  for (const PipelineParam& param : pipeline.params)
    if (std::optional<ParamSpec> spec = effective(pipeline, param, registry, library, 0)) specs.push_back(*spec);
  return specs;
}

}  // namespace morph
