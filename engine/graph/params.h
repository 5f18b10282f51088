// Parameters checked against their specs: types, ranges, choices, required ones, unknown names.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "morph/error.h"
#include "morph/pipeline.h"
#include "morph/stage.h"

namespace morph {

/// The complete parameters of a stage: `given` over the spec's defaults. Appends a diagnostic for each wrong one, at
/// `where`/name, and then calls the spec's own validation when there were none. A parameter without a value is null.
Params complete_params(const StageSpec& spec, const std::map<std::string, Value>& given, const std::string& where,
                       std::vector<Diagnostic>& diagnostics);

/// What the parameter of that name is, as CompileOptions::params takes it: one of the pipeline's own, or "stage.param"
/// (through nested pipelines: "outer/inner.param"). Nothing when there is none.
std::optional<ParamSpec> param_named(const Pipeline& pipeline, const std::string& name, const Registry& registry,
                                     const PipelineLibrary& library);

/// Why `value` cannot be `param`; empty when it can.
std::string why_not(const ParamSpec& param, const Value& value);
/// A value that why_not() allows, in the type that is declared: whole numbers become reals where those are wanted.
Value as_declared(const ParamSpec& param, Value value);

}  // namespace morph
