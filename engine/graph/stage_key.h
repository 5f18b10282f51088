// What tells loaded stages apart.
#pragma once

#include <string>

#include "morph/pipeline.h"

namespace morph {

/// Nodes with equal keys are one stage object: runs of one plan, and of plans that agree, batch together. Parameters of
/// runs are no part of it. The node has a spec.
std::string stage_key(const PlanNode& node, int n_threads);

}  // namespace morph
