// Parameters as people write them, typed by what they are for. See assign_params() in morph/request.h.
#include <optional>

#include "graph/params.h"
#include "morph/request.h"

namespace morph {
namespace {

const ParamSpec* param_of(const StageSpec* spec, const std::string& name) {
  if (spec == nullptr) return nullptr;
  for (const ParamSpec& param : spec->params)
    if (param.name == name) return &param;
  return nullptr;
}

/// The binding that "in.<port>." or "out.<port>." begins with, and what follows; null: none.
Binding* binding_of(const Engine& engine, CompileOptions& compile, const std::string& name, std::string& rest) {
  for (Binding& binding : compile.bindings) {
    const StageSpec* spec = engine.registry().find_stage(binding.stage);
    const bool reads = spec != nullptr && !spec->source_of.empty();
    const std::string prefix = (reads ? "in." : "out.") + binding.port + ".";
    if (!name.starts_with(prefix)) continue;
    rest = name.substr(prefix.size());
    return &binding;
  }
  return nullptr;
}

Value typed(const std::string& name, const ParamSpec* spec, const std::string& text) {
  if (spec == nullptr) return text;
  try {
    return parse_value(spec->type, text);
  } catch (const Error& error) {
    throw Error(ErrorCode::config, "-p " + name, error.message() + (spec->help.empty() ? "" : " (" + spec->help + ")"));
  }
}

}  // namespace

void assign_params(const Engine& engine, const Pipeline& pipeline, const std::vector<std::string>& assignments,
                   CompileOptions& compile) {
  for (const std::string& assignment : assignments) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(ErrorCode::config, "-p " + assignment, "expected name=value");
    const std::string name = assignment.substr(0, equals), text = assignment.substr(equals + 1);
    std::string rest;
    if (Binding* binding = binding_of(engine, compile, name, rest)) {
      binding->params.set(rest, typed(name, param_of(engine.registry().find_stage(binding->stage), rest), text));
      continue;
    }
    const std::optional<ParamSpec> spec = param_named(pipeline, name, engine.registry(), engine.pipelines());
    compile.params[name] = typed(name, spec ? &*spec : nullptr, text);
  }
}

}  // namespace morph
