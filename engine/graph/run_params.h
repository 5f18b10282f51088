// Parameters of a run: what RunOptions::params and Run::set_params say, brought to the stages of a plan and checked
// against their specs.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "morph/pipeline.h"

namespace morph {

/// Complete parameters of every node, by index: what the plan was compiled with, and `given` over it (names as in
/// RunOptions::params). Throws one Error{config} that lists all findings: unknown names with the nearest ones, wrong
/// types, values out of range, parameters of loading.
std::vector<Params> run_params(const Plan& plan, const std::map<std::string, Value>& given);

/// The values of `given` that change for each node, over its parameters in `current`. Throws like run_params, and for
/// parameters that may not change while the run lives.
std::map<std::size_t, Params> changed_params(const Plan& plan, const std::vector<Params>& current,
                                             const std::map<std::string, Value>& given);

/// Those of one scope, of a node's complete parameters.
Params of_scope(const StageSpec& spec, const Params& params, ParamScope scope);

}  // namespace morph
